"""Claiming as much as there are free threads, and handing it to them, or keeping the one task that was claimed."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import is_direct
from spoils.queue.claim import Claim, ClaimOne, claim, claim_suspect
from spoils.queue.cursors import Cursors, Pair, Place
from spoils.queue.release import release, release_strays
from spoils.worker.in_flight import InFlight, Token
from spoils.worker.listener import Listener
from spoils.worker.loop import Loop
from spoils.worker.pool import Pool

log = logging.getLogger("spoils.worker")

POLL_SECONDS = 1.0
IDLE_SECONDS = 10.0
"""The same while each beat looks for what is due, as `since` tells it to."""
STUCK_SECONDS = 0.25
"""What was taken ahead and has not been started for so long goes back: other workers may be free."""
EMPTY_SECONDS = 5.0
EMPTY_EVERY_SECONDS = 55.0
LATE_SECONDS = 60.0
"""How long after a claim was not answered its statement may still reach the server, and be carried out there."""
MOST_IN_FLIGHT = 2000
"""Claims in hand, performed but not settled ones included: a slow database slows claiming down, not memory up."""
CLAIM_SECONDS = 0.01
"""No claim takes more tasks than in about this time: what is put in meanwhile waits for it, and for its own."""
LEAST_CLAIM = 250
"""But for this many, which a claim may always take: with smaller claims two workers at one table drained less."""
# The database's now() is that of the claim's start: a claim sent at the very moment could come a hair too early.
DUE_MARGIN_SECONDS = 0.002
EARLIER_SECONDS = 1.0
"""A notification of a task that was due so long ago tells of a place that the cursors may have passed."""
AGAIN_SECONDS = (0.005, 0.010, 0.020)
"""After a notification, a claim that found nothing is made again: of several inserts at once only one notifies."""


class Dispatcher:
    """Polling is the truth; notifications, the next due moment and freed threads only wake it. Where it listens and
    waits, the beat polls for it, at the places that `since` names.

    It holds one connection for good, listens on it and claims on it: a notification is answered by the thread that
    hears it, in one round trip.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        worker_id: UUID,
        task_types: Sequence[str],
        kinds: Sequence[str],
        pool: Pool,
        in_flight: InFlight,
        attending: threading.Event,
    ) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._task_types = task_types
        self._kinds = kinds
        self._cursors = Cursors(task_types)
        self._round_trip = 0.0
        self._seconds_a_task = 0.0
        self._pool = pool
        self._in_flight = in_flight
        self._attending = attending
        self._draining = False
        self._paused: frozenset[str] = frozenset()
        self._suspect_due = False
        self._makes_room = False
        self._unsure = False
        self.since: Mapping[Pair, Place] | None = None
        self._told = False
        self._named: str | None = None
        self._one: ClaimOne | None = None
        self._one_without: frozenset[str] = frozenset()
        self._at_rest = False
        self._waits_on = 0.0
        self._again: tuple[float, ...] = ()
        self._strays_until = 0.0
        self._own: Claim | None = None  # what the thread that leads performs, once it has let go
        self._due_at: float | None = None
        self._empty_until = -EMPTY_EVERY_SECONDS
        self._connection: Connection | None = None
        self._listener = Listener(on_notify=self._hear)
        self.loop = Loop(
            name="dispatcher", tick=self.tick, wait=self._wait, interrupt=self._listener.interrupt
        )

    def due_in(self, seconds: float) -> None:
        """A task falls due in so many seconds: claim then. Zero or less means now. Any thread may call it."""
        known = self._due_at
        self._note(seconds)
        if seconds <= 0 or self._due_at != known:
            self.loop.wake()

    def suspect_due(self, due: bool, *, make_room: bool) -> None:
        """Whether a task that was running at two deaths is due: it is performed with nothing beside it.

        To `make_room` for it, before all else, is one worker's turn at a time; others take it when they are idle.
        All of them at once would leave everything else waiting.
        """
        self._suspect_due, self._makes_room = due, make_room
        if due:
            self.loop.wake()

    def obey(self, *, draining: bool, paused: frozenset[str]) -> None:
        """Claim nothing while `draining`, and nothing of the types that are `paused`."""
        more = (self._draining and not draining) or not self._paused <= paused
        self._draining, self._paused = draining, paused
        if more:
            self.loop.wake()

    def lead(self) -> Claim | None:
        """Hear and claim in this thread, until there is a task for it to perform; None: until the loop is stopped."""
        self.loop.run()
        claim, self._own = self._own, None
        return claim

    def tick(self) -> float:
        """Claim once, if there is room. Returns the seconds until the next claim, unless woken."""
        named, self._named = self._named, None
        self._at_rest = False
        self.since = None
        if not self._attending.is_set():
            return POLL_SECONDS
        self._give_back(self._pool.take_back(waiting_for=STUCK_SECONDS))
        if self._draining:
            return POLL_SECONDS
        room = self._room
        if room <= 0 or self._in_flight.suspect:
            return POLL_SECONDS
        if self._suspect_due and self._makes_room and self._runs_empty():
            if len(self._in_flight) or self._claim_suspect():
                return POLL_SECONDS
        claimed_at = time.monotonic()
        self._told = False
        if named and self._cursors.quiet and not self._suspect_due:
            with self._claiming():
                self._claim_one(named)
        elif self._claim(room):
            return 0.0
        if self._told:
            return 0.0
        if self._suspect_due and not len(self._in_flight) and self._claim_suspect():
            return POLL_SECONDS
        self._at_rest = self._rests()
        return self._until_next(claimed_at)

    def close(self) -> None:
        """Give the connection back. The loop has been stopped, and nobody wakes it any more."""
        self._disconnect()
        self._listener.close()

    @property
    def _room(self) -> int:
        """How many claims are welcome."""
        return min(self._pool.room, MOST_IN_FLIGHT - len(self._in_flight))

    def _claim(self, room: int) -> bool:
        """Claim into the room; whether there may be more at once."""
        if self._seconds_a_task:
            room = min(room, max(LEAST_CLAIM, int(CLAIM_SECONDS / self._seconds_a_task)))
        started = time.monotonic()
        with self._claiming() as connection:
            claims, more = claim(
                connection,
                worker_id=self._worker_id,
                cursors=self._cursors,
                kinds=self._kinds,
                limit=room,
                paused=self._paused,
            )
            self._take_in_hand(claims)
        self._measure(time.monotonic() - started, len(claims))
        return more

    def _measure(self, seconds: float, number: int) -> None:
        """Learn what one more task adds to a claim: the way to a far server would else look like its tasks."""
        if number < LEAST_CLAIM:
            self._round_trip = min(self._round_trip or seconds, seconds)
            return
        # The average of the last few: one claim may have waited for others.
        each = max(seconds - self._round_trip, 0.0) / number
        self._seconds_a_task += (each - self._seconds_a_task) / 4 if self._seconds_a_task else each

    def _claim_one(self, key: str) -> None:
        """Claim the task that a notification names: the last claim left nothing, so nothing goes before it."""
        self._unsure = True
        claims = self._ready_for_one().take(key)
        self._take_in_hand(claims)
        if not claims:
            self._again = AGAIN_SECONDS[-1:]  # who has taken it looks sooner for what was put in beside it

    def _ready_for_one(self) -> ClaimOne:
        assert self._connection is not None
        if self._one is None or self._one_without != self._paused:
            self._one_without = self._paused
            wanted = [name for name in self._task_types if name not in self._one_without]
            self._one = ClaimOne(
                self._connection, worker_id=self._worker_id, task_types=wanted, kinds=self._kinds
            )
        return self._one

    def _claim_suspect(self) -> bool:
        with self._claiming() as connection:
            wanted = [name for name in self._task_types if name not in self._paused]
            claims = claim_suspect(
                connection, worker_id=self._worker_id, task_types=wanted, kinds=self._kinds
            )
            self._take_in_hand(claims)
        self._suspect_due = bool(claims)  # until a beat tells otherwise
        return self._suspect_due

    @contextmanager
    def _claiming(self) -> Iterator[Connection]:
        """The connection; an error of any kind ends it, and the next use makes another."""
        if self._unsure:
            self._strays_until = time.monotonic() + LATE_SECONDS
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                if is_direct(self._connection):
                    # What is claimed or given back here is fenced: should it be lost, somebody does it anew.
                    self._connection.exec_driver_sql("SET synchronous_commit = off")
                    self._listener.attach(self._connection.connection.driver_connection)
                    self._ready_for_one()
            if time.monotonic() < self._strays_until:
                self._release_strays(self._connection)
            # From here to the answer we cannot know whether the claim was made.
            self._unsure = True
            yield self._connection
        except BaseException:
            self._disconnect()
            raise
        self._listener.pass_on()

    def _disconnect(self) -> None:
        self._listener.attach(None)
        connection, self._connection, self._one = self._connection, None, None
        if connection is not None:
            connection.invalidate()  # a session that listens is nobody else's
            connection.close()

    def _wait(self, seconds: float) -> float:
        self._waits_on = 0.0
        try:
            self._listener.wait(seconds)
        except BaseException:
            self._disconnect()
            raise
        return self._waits_on

    def _hear(self, seconds: float, named: str | None = None) -> None:
        if named and self._at_rest and self._still_at_rest():
            self._at_rest = self._told = False
            self.loop.begin()
            self._again = AGAIN_SECONDS
            self._claim_one(named)
            self._cursors.look_wide()
            self._listener.pass_on()
            self._waits_on = 0.0 if self._told else self._until_next(time.monotonic())
            return
        if seconds <= 0:
            self._named = None if self._told else named  # of several none: the cursors find them all
            self._again = AGAIN_SECONDS
            self._told = True
        self._note(seconds)

    def _rests(self) -> bool:
        """Whether the one task that it is told of may be claimed at once, by what is made ready for that."""
        if not self._listener.attached or not self._cursors.quiet or self._suspect_due or self._room <= 0:
            return False
        self._ready_for_one()
        return True

    def _still_at_rest(self) -> bool:
        return (
            self._attending.is_set()
            and not self._draining
            and not self._suspect_due
            and self._one_without == self._paused
        )

    def _note(self, seconds: float) -> None:
        if seconds < -EARLIER_SECONDS:
            self._cursors.look_back(-seconds)
        if seconds <= 0:
            self._cursors.look_wide()
        elif seconds < POLL_SECONDS * 3:
            moment = time.monotonic() + seconds + DUE_MARGIN_SECONDS
            self._due_at = min(self._due_at or moment, moment)

    def _take_in_hand(self, claims: list[Claim]) -> None:
        self._in_flight.add(claims)
        self._unsure = False
        if len(claims) == 1 and self._own is None and self._pool.keep():
            self._own = claims[0]
            self.loop.let_go()
        else:
            self._pool.submit(claims)

    def _release_strays(self, connection: Connection) -> None:
        held = [one.key for one in self._in_flight.claims()]
        strays = release_strays(connection, worker_id=self._worker_id, held=held)
        if strays:
            log.warning(
                "Gave back %d tasks whose claim was not answered",
                len(strays),
                extra={"action": "release"},
            )

    def give_back_unstarted(self) -> None:
        """Return what no thread has begun. The loop has been stopped."""
        self._give_back(self._pool.take_back())

    def _runs_empty(self) -> bool:
        """Whether to claim nothing, so that a suspect's turn may come: a few seconds of each minute, not for ever."""
        now = time.monotonic()
        if now >= self._empty_until + EMPTY_EVERY_SECONDS:
            self._empty_until = now + EMPTY_SECONDS
        return now < self._empty_until

    def _give_back(self, claims: list[Claim]) -> None:
        """Return to the table what was taken ahead and would wait here."""
        if not claims:
            return
        # Out of hand first: should the answer be lost, they are strays, which the next claim gives back.
        self._in_flight.drop(one.token for one in claims)
        self._unsure = True
        tokens = [one.token for one in claims]
        try:
            self._release(tokens)
        except DBAPIError as exc:
            if not exc.connection_invalidated:
                raise
            self._release(tokens)  # by another connection: this one had died while nobody used it
        self._unsure = False

    def _release(self, tokens: Sequence[Token]) -> None:
        with self._engine.connect() as connection:
            release(connection, worker_id=self._worker_id, tokens=tokens)

    def _until_next(self, claimed_at: float) -> float:
        if self._due_at is not None and self._due_at <= claimed_at:
            self._due_at = None
        delay = POLL_SECONDS
        if self._listener.attached and self._cursors.quiet and not len(self._in_flight):
            self.since = self._cursors.places(claimed_at)
            delay = POLL_SECONDS if self._cursors.sweeping else IDLE_SECONDS
        if self._again:
            delay, *rest = self._again
            self._again = tuple(rest)
        if self._due_at is None:
            return delay
        return min(delay, max(self._due_at - time.monotonic(), 0.0))
