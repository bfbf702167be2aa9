"""The connection on which a worker claims and listens, and what a lost answer may have left in the table."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import is_direct
from spoils.queue.claim import Claim, ClaimOne, claim, claim_suspect
from spoils.queue.cursors import Cursors
from spoils.queue.release import release, release_strays
from spoils.queue.settlement import Token
from spoils.worker.in_flight import InFlight
from spoils.worker.listener import Listener
from spoils.worker.pace import Pace

log = logging.getLogger("spoils.worker")

LATE_SECONDS = 60.0
"""How long after a claim was not answered its statement may still reach the server, and be carried out there."""
STRAY_SECONDS = 0.5
"""After this time strays are looked for again that were locked: nobody else would give them back."""


class Claimer:
    """Claims, takes what it got in hand and gives it to `hand_over`, for one thread at a time. A claim that fails ends
    its connection, and the next one makes another and looks for what the lost answer may have left.

    `paused` are the task types of which nothing is claimed now.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        worker_id: UUID,
        task_types: Sequence[str],
        kinds: Sequence[str],
        only_known: bool = False,
        in_flight: InFlight,
        listener: Listener,
        hand_over: Callable[[list[Claim]], None],
    ) -> None:
        self.cursors = Cursors(task_types)
        self._engine = engine
        self._worker_id = worker_id
        self._task_types = task_types
        self._kinds = kinds
        self._only_known = only_known
        self._in_flight = in_flight
        self._listener = listener
        self._hand_over = hand_over
        self._connection: Connection | None = None
        self._one: ClaimOne | None = None
        self._one_without: frozenset[str] = frozenset()
        self._unsure = False
        self._strays_until = 0.0
        self._locked_strays_at = float("inf")
        self._pace = Pace()

    def claim(self, room: int, paused: frozenset[str]) -> bool:
        """Claim up to `room` of what is due; whether there may be more at once."""
        started = time.monotonic()
        with self._claiming() as connection:
            claims, more = claim(
                connection,
                worker_id=self._worker_id,
                cursors=self.cursors,
                kinds=self._kinds,
                only_known=self._only_known,
                limit=self._pace.most(room),
                paused=paused,
            )
            self._take_in_hand(claims)
        self._pace.learn(time.monotonic() - started, len(claims))
        return more

    def claim_suspect(self, paused: frozenset[str]) -> bool:
        """Claim the one that was running at two deaths; whether there was one."""
        with self._claiming() as connection:
            claims = claim_suspect(
                connection,
                worker_id=self._worker_id,
                task_types=self._but(paused),
                kinds=self._kinds,
                only_known=self._only_known,
            )
            self._take_in_hand(claims)
        return bool(claims)

    def claim_one(self, key: str, paused: frozenset[str]) -> bool:
        """Claim the task of this id on a connection that listens; whether it was this worker's to take."""
        with self._claiming():
            self.make_ready(paused)
            return self.claim_ready(key)

    def make_ready(self, paused: frozenset[str]) -> None:
        """Prepare for `claim_ready` on the connection that listens: Python that has rested runs ten times slower."""
        if self._connection is None or self.is_ready(paused):
            return
        try:
            self._one = ClaimOne(
                self._connection,
                worker_id=self._worker_id,
                task_types=self._but(paused),
                kinds=self._kinds,
                only_known=self._only_known,
            )
        except BaseException:
            self.disconnect()
            raise
        self._one_without = paused

    def is_ready(self, paused: frozenset[str]) -> bool:
        """Whether what was made ready leaves out just these."""
        return self._one is not None and self._one_without == paused

    def claim_ready(self, key: str) -> bool:
        """What `claim_one` does, with little of Python. The caller disconnects after an error."""
        if self._one is None:
            return False
        self._unsure = True
        try:
            claims = self._one.take(key)
        except DBAPIError as exc:
            self._unsure = exc.connection_invalidated  # what the server refused was not claimed
            raise
        self._take_in_hand(claims)
        return bool(claims)

    def give_back(self, claims: list[Claim]) -> None:
        """Return to the table what was taken ahead and would wait here."""
        if not claims:
            return
        # Out of hand first: should the answer be lost, they are strays, which the next claim gives back.
        self._in_flight.drop(one.token for one in claims)
        unsure, self._unsure = self._unsure, True
        tokens = [one.token for one in claims]
        try:
            given_back = self._release(tokens)
        except DBAPIError as exc:
            if not exc.connection_invalidated:
                raise
            given_back = self._release(
                tokens
            )  # by another connection: this one had died while nobody used it
        self._unsure = unsure
        if given_back < len(claims):  # the others are lost, or locked, and strays from now on
            self._locked_strays_at = time.monotonic() + STRAY_SECONDS

    def give_back_strays(self) -> None:
        """Give back strays that were locked, also while nothing is claimed."""
        if time.monotonic() < self._locked_strays_at:
            return
        try:
            self._release_strays(self._connection or self._connect())
        except BaseException:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """End the connection."""
        self._listener.attach(None)
        connection, self._connection, self._one = self._connection, None, None
        if connection is not None:
            connection.invalidate()  # a session that listens is nobody else's
            connection.close()

    @contextmanager
    def _claiming(self) -> Iterator[Connection]:
        if self._unsure:
            self._strays_until = time.monotonic() + LATE_SECONDS
        try:
            fresh = self._connection is None
            connection = self._connection or self._connect()
            # Also once on each connection: a crash of the server may have undone the last giving back.
            if fresh or time.monotonic() < self._strays_until:
                self._release_strays(connection)
            # From here to the answer we cannot know whether the claim was made.
            self._unsure = True
            yield connection
        except BaseException:
            self.disconnect()
            raise
        self._listener.pass_on()

    def _connect(self) -> Connection:
        # Kept before all else, so that one whose session was changed is ended, and never lent to others.
        self._connection = connection = self._engine.connect()
        if is_direct(connection):
            # What is claimed here is fenced: should it be lost, somebody claims it anew.
            connection.exec_driver_sql("SET synchronous_commit = off")
            self._listener.attach(connection.connection.driver_connection)
        return connection

    def _take_in_hand(self, claims: list[Claim]) -> None:
        now = self._in_flight.add(claims)
        self._unsure = False
        self._hand_over(now)

    def _release_strays(self, connection: Connection) -> None:
        held = [one.key for one in self._in_flight.claims()]
        strays, locked = release_strays(connection, worker_id=self._worker_id, held=held)
        self._locked_strays_at = time.monotonic() + STRAY_SECONDS if locked else float("inf")
        if strays:
            log.warning(
                "Gave back %d tasks whose claim was not answered",
                len(strays),
                extra={"action": "release"},
            )

    def _release(self, tokens: Sequence[Token]) -> int:
        with self._engine.connect() as connection:
            return len(release(connection, worker_id=self._worker_id, tokens=tokens))

    def _but(self, paused: frozenset[str]) -> list[str]:
        return [name for name in self._task_types if name not in paused]
