"""Writing outcomes in groups: whatever has gathered while the last commit was under way goes into the next."""

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from spoils.queue.settle import Settlement, settle
from spoils.worker.in_flight import Token
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

MOST = 500
IDLE_SECONDS = 60.0


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
        self._batch: list[Settlement] = []
        self._singly = False
        self.loop = Loop(name="settler", tick=self.tick)

    def hand_over(self, settlement: Settlement) -> None:
        """Write it soon."""
        self._given.put(settlement)
        self.loop.wake()

    def tick(self) -> float:
        """Write one group. An error leaves the group in hand, and the loop comes back for it."""
        self._gather()
        if not self._batch:
            return IDLE_SECONDS
        if self._singly:
            self._write_singly()
        else:
            try:
                self._write(self._batch)
            except DBAPIError as exc:
                # Whether a lock or a rule of somebody's stands in the way of one: the others need not wait for it.
                self._singly = not exc.connection_invalidated
                raise
        return 0.0

    def _write_singly(self) -> None:
        refused = None
        for item in list(self._batch):
            try:
                self._write([item])
            except DBAPIError as exc:
                if exc.connection_invalidated:
                    raise
                refused = exc
        if refused is not None:
            raise refused
        self._singly = False

    def _write(self, items: list[Settlement]) -> None:
        with self._engine.connect() as connection:
            written = settle(connection, items, worker_id=self._worker_id, release=self._release)
        for item in items:
            if item.task_id not in written:
                log.warning(
                    "Lost: the task is no longer this attempt's",
                    extra={"action": "lost", "task_id": item.task_id, "attempt": item.attempts},
                )
        done = {item.token for item in items}
        self._batch = [item for item in self._batch if item.token not in done]
        self._on_settled(list(done))

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._batch and self._given.empty()

    def _gather(self) -> None:
        held = {item.token for item in self._batch}
        while len(self._batch) < MOST:
            try:
                item = self._given.get_nowait()
            except Empty:
                return
            # What was said first of an attempt counts: of two in one statement the server would take either.
            if item.token not in held:
                held.add(item.token)
                self._batch.append(item)
