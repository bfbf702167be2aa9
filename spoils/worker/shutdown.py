"""Stopping a worker process: what can end ends, what cannot goes back, and nothing hangs."""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from spoils.job.outcome import Ending, Verdict
from spoils.queue.settlement import Settlement
from spoils.worker import force
from spoils.worker.rooms import Rooms

log = logging.getLogger("spoils.worker")

SETTLE_SECONDS = 1.5
"""How long the last outcomes may take to be written once the jobs have ended."""
FORCE_SECONDS = 2.0
"""How long beyond the grace the process may take to end, whatever hangs."""
LAST_WORDS_SECONDS = 0.3
"""How long before that a line is logged that says so."""


class Shutdown:
    """One stop of one process. `seconds` is the grace of jobs; `disowned` says that its tasks are others' already."""

    def __init__(self, rooms: Rooms, *, seconds: float, disowned: bool) -> None:
        self._rooms = rooms
        self._seconds = seconds
        self._disowned = disowned

    def run(self) -> None:
        """The order matters: each room outlives those that need it."""
        self._end_by_force(self._seconds + FORCE_SECONDS)  # first: even the log may hang
        deadline = time.monotonic() + self._seconds
        log.info(
            "Worker pool stopping: %d jobs in hand",
            len(self._rooms.in_flight),
            extra={"action": "stop", "worker_id": self._rooms.worker_id},
        )
        self._rooms.presence.draining = True
        self._rooms.stopping.set()
        self._rooms.dispatcher.loop.stop(1.0)  # 1. nothing new is claimed
        rooms = self._rooms
        for room in (rooms.scheduler, rooms.maintenance, rooms.rescuer, rooms.alerts):
            room.loop.stop(0.2)
        self._give_back_unstarted()
        self._drain(deadline)  # 2. what can end, ends
        self._release()  # 3. the rest goes back
        self._wait_for(
            lambda: self._rooms.settler.empty and not len(self._rooms.in_flight),
            time.monotonic() + SETTLE_SECONDS,
        )
        self._rooms.pool.stop()
        self._rooms.timekeeper.loop.stop(0.2)
        self._rooms.settler.loop.stop(0.5)
        if self._rooms.presence.loop.stop(0.5):  # 4. the beat goes on until nothing is held
            self._leave()
        self._rooms.watchdog.stop()
        if self._rooms.dispatcher.loop.stop(0):
            self._rooms.dispatcher.close()
        self._rooms.engine.dispose()
        self._rooms.sessions.dispose()
        log.info("Worker pool stopped", extra={"action": "stop", "worker_id": self._rooms.worker_id})

    def _end_by_force(self, seconds: float) -> None:
        """End the process in `seconds` whatever hangs: a database call, or a thread that a job has left behind."""
        force.end_within(seconds)

        def tell() -> None:
            time.sleep(seconds - LAST_WORDS_SECONDS)
            log.critical("Stopping takes too long: this process ends now", extra={"action": "stop"})

        threading.Thread(target=tell, name="force", daemon=True).start()

    def _give_back_unstarted(self) -> None:
        try:
            self._rooms.dispatcher.release_unstarted()
        except SQLAlchemyError as exc:
            log.warning("Giving back failed: %s", exc, extra={"action": "release"})

    def _drain(self, deadline: float) -> None:
        if not self._disowned:
            self._wait_for(lambda: not len(self._rooms.in_flight), deadline)

    def _release(self) -> None:
        held = self._rooms.in_flight.claims()
        for claim in held:
            self._rooms.settler.hand_over(
                Settlement(claim.key, claim.attempts, Verdict(Ending.RELEASED), claim.claimed_at, 0)
            )
        # Only now: what the interruption makes of the job comes second, and the settler keeps the first.
        for claim in held:
            self._rooms.performer.interrupt(claim.token)
        for claim in held:
            log.warning(
                "Released: it did not end in time",
                extra={"action": "release", "task_id": claim.key, "task_type": claim.task_type},
            )

    def _leave(self) -> None:
        try:
            if not self._disowned:
                self._rooms.presence.leave()
        except Exception as exc:  # noqa: BLE001 - the row is then ended by a rescue
            log.warning(
                "Leaving failed: %s", exc, extra={"action": "stop", "worker_id": self._rooms.worker_id}
            )

    def _wait_for(self, done: Callable[[], bool], deadline: float) -> None:
        while not done() and time.monotonic() < deadline:
            self._rooms.progress.wait(0.05)
            self._rooms.progress.clear()
