"""Rescues the tasks of dead workers, on another connection than the heartbeat's."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Engine

from spoils.queue.rescue import Rescue, rescue, rescue_rest
from spoils.queue.worker_rows import OtherWorker
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

IDLE_SECONDS = 60.0
REST_SECONDS = 0.5
"""When to try again the tasks of a dead worker whose rows were locked."""


class Rescuer:
    """Takes dead workers from the heartbeat, which names them until their rows have ended."""

    def __init__(self, *, engine: Engine, turn: threading.Lock) -> None:
        """`turn` is shared by the parts that keep house, of which one at a time takes a connection."""
        self._engine = engine
        self._turn = turn
        self._dead: dict[UUID, OtherWorker] = {}
        self._unfinished: deque[UUID] = deque()
        self.loop = Loop(name="rescuer", tick=self.tick)

    def found_dead(self, dead: Sequence[OtherWorker]) -> None:
        """Rescue the tasks of these workers."""
        self._dead = {one.id: one for one in dead}
        self.loop.wake()

    def tick(self) -> float:
        """Rescue one after the other, then what was locked before."""
        # The newly dead first: a row of an earlier one that the table refuses must not keep them waiting.
        while self._dead:
            _, dead = self._dead.popitem()
            self._rescue(dead)
        for _ in range(len(self._unfinished)):
            self._unfinished.rotate(-1)
            self._rest(self._unfinished[-1])
        return REST_SECONDS if self._unfinished else IDLE_SECONDS

    def _rescue(self, dead: OtherWorker) -> None:
        self._unfinished.append(dead.id)  # its row has ended even if releasing its tasks fails
        with self._turn, self._engine.connect() as connection:
            done = rescue(connection, worker_id=dead.id, beat=dead.beat)
        self._take_note(dead.id, done)

    def _rest(self, worker_id: UUID) -> None:
        with self._turn, self._engine.connect() as connection:
            done = rescue_rest(connection, worker_id=worker_id)
        self._take_note(worker_id, done)

    def _take_note(self, worker_id: UUID, done: Rescue) -> None:
        if not done.left:
            self._unfinished.remove(worker_id)
        if done.ended or done.tasks:
            log.log(
                logging.WARNING if done.tasks else logging.INFO,
                "Rescued %d jobs of a dead worker",
                done.tasks,
                extra={"action": "rescue", "worker_id": worker_id},
            )
