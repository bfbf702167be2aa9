"""Rescuing what presence found dead, on another connection: a locked row may hold a rescue up, never a beat."""

import logging
import threading
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Engine

from spoils.queue.presence import Neighbour
from spoils.queue.rescue import rescue
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

IDLE_SECONDS = 60.0


class Rescuer:
    """Takes the dead from presence, which names them again at each beat until they are rescued."""

    def __init__(self, *, engine: Engine, turn: threading.Lock) -> None:
        """`turn` is shared by the rooms that keep house, of which one at a time takes a connection."""
        self._engine = engine
        self._turn = turn
        self._dead: dict[UUID, Neighbour] = {}
        self.loop = Loop(name="rescuer", tick=self.tick)

    def found_dead(self, dead: Sequence[Neighbour]) -> None:
        """Rescue what these hold."""
        self._dead = {one.id: one for one in dead}
        self.loop.wake()

    def tick(self) -> float:
        """Rescue one after the other."""
        while self._dead:
            _, dead = self._dead.popitem()
            with self._turn, self._engine.connect() as connection:
                done = rescue(connection, worker_id=dead.id, beat=dead.beat)
            if done.ended:
                log.log(
                    logging.WARNING if done.tasks else logging.INFO,
                    "Rescued %d tasks of a dead worker",
                    done.tasks,
                    extra={"action": "rescue", "worker_id": dead.id},
                )
        return IDLE_SECONDS
