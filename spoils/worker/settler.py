"""Writing outcomes in groups: whatever has gathered while the last commit was under way goes into the next."""

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from uuid import UUID

from sqlalchemy import Engine

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
        with self._engine.connect() as connection:
            written = settle(connection, self._batch, worker_id=self._worker_id, release=self._release)
        for item in self._batch:
            if item.task_id not in written:
                log.warning(
                    "Lost: the task is no longer this attempt's",
                    extra={"action": "lost", "task_id": item.task_id, "attempt": item.attempts},
                )
        done, self._batch = [item.token for item in self._batch], []
        self._on_settled(done)
        return 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._batch and self._given.empty()

    def _gather(self) -> None:
        while len(self._batch) < MOST:
            try:
                self._batch.append(self._given.get_nowait())
            except Empty:
                return
