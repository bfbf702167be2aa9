"""Writes outcomes in batches: those that arrive during one commit go into the next."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from queue import Empty, SimpleQueue
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from spoils.job.outcome import FINISHED, Ending, Report, Verdict
from spoils.queue.fence import BlockedByOther, still_ours
from spoils.queue.settle import settle
from spoils.queue.settlement import Settlement, Token
from spoils.worker.loop import Loop
from spoils.worker.transient import may_be_of_one_row, refuses_the_row

log = logging.getLogger("spoils.worker")

MOST = 500
IDLE_SECONDS = 60.0
APART_SECONDS = 1.0
"""How long to wait before an outcome whose row is locked or refused is tried again."""
LONGEST_APART_SECONDS = 60.0
"""The longest such wait, after repeated refusals."""
SINGLY_SECONDS = 20.0
MOST_REFUSALS = 3
LONGEST_ERROR_SECONDS = 1.0
"""The longest wait while the server accepts no outcomes at all."""


class Settler:
    """Accepts settlements from any thread and keeps each until the database has answered.

    While the server accepts none, `writing` is not set, and the dispatcher claims nothing.
    """

    def __init__(
        self, *, engine: Engine, worker_id: UUID, release: str, on_settled: Callable[[list[Token]], None]
    ) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._release = release
        self._on_settled = on_settled
        self._given: SimpleQueue[Settlement] = SimpleQueue()
        # By token: of two verdicts on one attempt (released, then ended after all) the first one holds.
        self._batch: dict[Token, Settlement] = {}
        self._skips_locked = False  # while the batch holds an outcome whose row was locked
        self._apart: dict[Token, tuple[float, Settlement]] = {}  # until when
        self._refusals: Counter[Token] = Counter()
        self.writing = threading.Event()
        self.writing.set()
        self.loop = Loop(name="settler", tick=self.tick, longest_error_seconds=LONGEST_ERROR_SECONDS)

    def hand_over(self, settlement: Settlement) -> None:
        """Write it soon."""
        self._given.put(settlement)
        self.loop.wake()

    def tick(self) -> float:
        """Write one batch. Outcomes that the database did not confirm stay in hand and are written again."""
        self._gather()
        if not self._batch:
            return APART_SECONDS if self._apart else IDLE_SECONDS
        try:
            with self._engine.connect() as connection:
                until = time.monotonic() + SINGLY_SECONDS
                for group in self._groups():
                    self._write_all(connection, group, until)
        except Exception:
            self.writing.clear()
            raise
        return 0.0

    @property
    def waiting(self) -> int:
        """How many settlements wait to be written."""
        return len(self._batch) + len(self._apart) + self._given.qsize()

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be written."""
        return not self.waiting

    def _gather(self) -> None:
        now = time.monotonic()
        again = [token for token, (until, _) in self._apart.items() if until <= now]
        for token in again:
            self._batch[token] = self._apart.pop(token)[1]
        self._skips_locked = bool(again)
        while len(self._batch) < MOST:
            try:
                settlement = self._given.get_nowait()
            except Empty:
                return
            if settlement.token not in self._apart:
                self._batch.setdefault(settlement.token, settlement)

    def _groups(self) -> list[dict[Token, Settlement]]:
        """The batch in two groups, each written by a statement with its own commit."""
        finished = {token: item for token, item in self._batch.items() if item.verdict is FINISHED}
        others = {token: item for token, item in self._batch.items() if item.verdict is not FINISHED}
        return [group for group in (finished, others) if group]

    def _write_all(self, connection: Connection, group: dict[Token, Settlement], until: float) -> None:
        try:
            self._write(connection, group)
        except BlockedByOther:
            self._skips_locked = True  # the statement has waited for locked rows already
            self._write_singly(connection, group, until)
        except DBAPIError as exc:
            if not may_be_of_one_row(exc):
                raise
            self._write_singly(connection, group, until)

    def _write(self, connection: Connection, group: dict[Token, Settlement]) -> None:
        written = settle(
            connection,
            list(group.values()),
            worker_id=self._worker_id,
            release=self._release,
            skip_locked=self._skips_locked,
        )
        self.writing.set()
        # Before the others are checked, which may fail: a result that is written twice would be logged as discarded.
        self._let_go([token for token in group if token[0] in written])
        if missing := {token: item for token, item in group.items() if token[0] not in written}:
            self._look_after(connection, missing)

    def _look_after(self, connection: Connection, missing: dict[Token, Settlement]) -> None:
        """Set aside missing outcomes whose rows are locked; discard those whose task belongs to another attempt."""
        locked = still_ours(connection, missing, worker_id=self._worker_id)
        for token, item in missing.items():
            if token[0] in locked:
                self._set_apart(item, APART_SECONDS)
            else:
                log.warning(
                    "Result discarded: the task now belongs to another attempt",
                    extra={"action": "lost", "task_id": token[0], "attempt": token[1]},
                )
                self._let_go([token])

    def _let_go(self, tokens: list[Token]) -> None:
        for token in tokens:
            del self._batch[token]
            if self._refusals:
                self._refusals.pop(token, None)
        self._on_settled(tokens)

    def _write_singly(self, connection: Connection, group: dict[Token, Settlement], until: float) -> None:
        """Write one by one, so that a row that the table refuses, or that an open insert blocks, delays only itself."""
        for token, item in group.items():
            if time.monotonic() > until:
                return
            try:
                self._write(connection, {token: item})
            except BlockedByOther:
                self.writing.set()
                self._set_apart(item, APART_SECONDS)
            except DBAPIError as exc:
                if not may_be_of_one_row(exc):
                    raise
                self._refused(item, exc)

    def _refused(self, item: Settlement, error: DBAPIError) -> None:
        """Set it aside. After repeated refusals, replace the outcome by a failure that says so."""
        self.writing.set()  # the server accepts writes and refuses this row only
        self._refusals[item.token] += 1
        number = self._refusals[item.token]
        log.error(
            "Failed to write the result of a job: %s",
            str(error.orig).partition("\n")[0],
            extra={"action": "settle", "task_id": item.key, "attempt": item.attempts},
        )
        if number == MOST_REFUSALS and refuses_the_row(error):
            sentence = (
                f"The outcome ({item.verdict.ending.value}) could not be written: the table refused it."
            )
            item = item._replace(verdict=Verdict(Ending.FAILED, report=Report("", sentence)))
        self._set_apart(item, min(APART_SECONDS * 2.0 ** (number - 1), LONGEST_APART_SECONDS))

    def _set_apart(self, item: Settlement, seconds: float) -> None:
        del self._batch[item.token]
        self._apart[item.token] = time.monotonic() + seconds, item
