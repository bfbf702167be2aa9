"""Writing outcomes in groups: whatever has gathered while the last commit was under way goes into the next."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from queue import Empty, SimpleQueue
from uuid import UUID

from psycopg2 import errorcodes
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from spoils.outcome import Ending, Report, Verdict
from spoils.queue.release import wake
from spoils.queue.settle import settle
from spoils.queue.settlement import Settlement
from spoils.worker.in_flight import Token
from spoils.worker.loop import Loop
from spoils.worker.transient import is_transient

log = logging.getLogger("spoils.worker")

MOST = 500
IDLE_SECONDS = 60.0
APART_SECONDS = 1.0
SINGLY_SECONDS = 20.0
MOST_REFUSALS = 3


class Settler:
    """Takes settlements from any thread, and keeps each until the database has answered."""

    def __init__(
        self, *, engine: Engine, worker_id: UUID, release: str, on_settled: Callable[[list[Token]], None]
    ) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._release = release
        self._on_settled = on_settled
        self._given: SimpleQueue[Settlement] = SimpleQueue()
        # By token, so that of two verdicts on one attempt (released, then ended after all) the first one holds.
        self._batch: dict[Token, Settlement] = {}
        self._refusals: Counter[Token] = Counter()
        self._rests_until: dict[Token, float] = {}
        self.loop = Loop(name="settler", tick=self.tick)

    def hand_over(self, settlement: Settlement) -> None:
        """Write it soon."""
        self._given.put(settlement)
        self.loop.wake()

    def tick(self) -> float:
        """Write one group. What the database did not answer for stays in hand, and the loop comes back for it."""
        self._gather()
        group = self._rested()
        if not group:
            return APART_SECONDS if self._batch else IDLE_SECONDS
        with self._engine.connect() as connection:
            try:
                self._write(connection, group)
            except DBAPIError as exc:
                if exc.connection_invalidated or is_transient(exc):
                    raise
                self._write_singly(connection, group)
        return APART_SECONDS if self._batch else 0.0

    @property
    def waiting(self) -> int:
        """How many settlements wait to be written."""
        return len(self._batch) + self._given.qsize()

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be written."""
        return not self.waiting

    def _gather(self) -> None:
        while len(self._batch) < MOST:
            try:
                settlement = self._given.get_nowait()
            except Empty:
                return
            self._batch.setdefault(settlement.token, settlement)

    def _rested(self) -> dict[Token, Settlement]:
        """What may be written now: one that was refused just now is not asked for with each group that comes."""
        if not self._rests_until:
            return self._batch.copy()
        now = time.monotonic()
        return {
            token: item for token, item in self._batch.items() if self._rests_until.get(token, 0.0) <= now
        }

    def _write(self, connection: Connection, group: dict[Token, Settlement]) -> None:
        items = list(group.values())
        written = settle(connection, items, worker_id=self._worker_id, release=self._release)
        if any(item.verdict.ending is Ending.RELEASED for item in items):
            wake(connection)
        for token, item in group.items():
            if item.key not in written:
                log.warning(
                    "Lost: the task is no longer this attempt's",
                    extra={"action": "lost", "task_id": item.key, "attempt": item.attempts},
                )
            del self._batch[token]
            if self._rests_until:
                self._refusals.pop(token, None)
                self._rests_until.pop(token, None)
        self._on_settled(list(group))

    def _write_singly(self, connection: Connection, group: dict[Token, Settlement]) -> None:
        """One row that is locked, or that some rule of the table refuses, must not hold up its neighbours."""
        until = time.monotonic() + SINGLY_SECONDS
        for token, item in group.items():
            if time.monotonic() > until:
                return
            try:
                self._write(connection, {token: item})
            except DBAPIError as exc:
                if exc.connection_invalidated or is_transient(exc):
                    raise
                self._rests_until[token] = time.monotonic() + APART_SECONDS
                if getattr(exc.orig, "pgcode", None) != errorcodes.LOCK_NOT_AVAILABLE:
                    self._refused(item, exc)

    def _refused(self, item: Settlement, error: DBAPIError) -> None:
        """Count it; an outcome that is refused again and again is replaced by a failure that says so."""
        self._refusals[item.token] += 1
        log.error(
            "An outcome could not be written: %s",
            str(error.orig).partition("\n")[0],
            extra={"action": "settle", "task_id": item.key, "attempt": item.attempts},
        )
        if self._refusals[item.token] >= MOST_REFUSALS:
            sentence = (
                f"The outcome ({item.verdict.ending.value}) could not be written: the table refused it."
            )
            verdict = Verdict(Ending.FAILED, report=Report("", sentence))
            self._batch[item.token] = item._replace(verdict=verdict)
