"""Stops a worker process: jobs finish if they can, the rest is released, and nothing hangs."""

import logging
import threading
import time
from collections.abc import Callable

from spoils.job.outcome import Ending, Verdict
from spoils.queue.settlement import Settlement
from spoils.worker import force_exit
from spoils.worker.startup import WorkerParts

log = logging.getLogger("spoils.worker")

SETTLE_SECONDS = 1.5
"""How long to wait for the last outcomes to be written, and for released async jobs to clean up."""
FORCE_SECONDS = 2.0
"""How long beyond the grace period the process may take to exit."""
LAST_WORDS_SECONDS = 0.3
"""How long before that the worker logs that it takes too long."""


class Shutdown:
    """Stops the process. `seconds` is the grace of jobs; `declared_dead`: its tasks already belong to others;
    `ended_how` is what its row says: clean or recycled.
    """

    def __init__(
        self, parts: WorkerParts, *, seconds: float, declared_dead: bool, ended_how: str = "clean"
    ) -> None:
        self._parts = parts
        self._seconds = seconds
        self._declared_dead = declared_dead
        self._ended_how = ended_how

    def run(self) -> None:
        """The order matters: each part outlives those that need it."""
        self._end_by_force(self._seconds + FORCE_SECONDS)  # first: logging may hang
        deadline = time.monotonic() + self._seconds
        log.info(
            "Worker pool stopping: %d jobs in hand",
            len(self._parts.in_flight),
            extra={"action": "stop", "worker_id": self._parts.worker_id},
        )
        self._parts.stopping.set()
        self._parts.stop_claiming()  # 1. nothing new is claimed, and what has not started is released
        parts = self._parts
        for room in (parts.scheduler, parts.maintenance, parts.rescuer, parts.alerts):
            room.loop.stop(0.2)
        self._drain(deadline)  # 2. jobs finish if they can
        self._release()  # 3. the rest is released
        self._wait_for(
            lambda: self._parts.settler.empty and not len(self._parts.in_flight) and not self._cleaning_up,
            time.monotonic() + SETTLE_SECONDS,
        )
        for pool in self._parts.pools:
            pool.stop()
        self._parts.job_deadlines.loop.stop(0.2)
        self._parts.settler.loop.stop(0.5)
        if self._parts.heartbeat.loop.stop(0.5):  # 4. the heartbeat goes on until nothing is held
            self._leave()
        self._parts.watchdog.stop()
        if self._parts.dispatcher.loop.stop(0):
            self._parts.dispatcher.close()
        self._parts.engine.dispose()
        self._parts.sessions.dispose()
        log.info("Worker pool stopped", extra={"action": "stop", "worker_id": self._parts.worker_id})

    def _end_by_force(self, seconds: float) -> None:
        """End the process in `seconds` whatever hangs: a database call, or a thread that a job has left behind."""
        force_exit.exit_within(seconds)

        def warn() -> None:
            time.sleep(seconds - LAST_WORDS_SECONDS)
            log.critical("Shutdown takes too long; exiting now", extra={"action": "stop"})

        threading.Thread(target=warn, name="force-exit", daemon=True).start()

    def _drain(self, deadline: float) -> None:
        if not self._declared_dead:
            self._wait_for(lambda: not len(self._parts.in_flight), deadline)

    def _release(self) -> None:
        held = self._parts.in_flight.claims()
        for claim in held:
            self._parts.settler.hand_over(
                Settlement(claim.key, claim.attempts, Verdict(Ending.RELEASED), claim.claimed_at, 0)
            )
        # After the hand-over: of two settlements the settler keeps the first.
        for claim in held:
            self._parts.performer.interrupt(claim.token)
        for claim in held:
            log.warning(
                "Released job: it did not end within the shutdown time",
                extra={"action": "release", "task_id": claim.key, "task_type": claim.task_type},
            )

    @property
    def _cleaning_up(self) -> bool:
        """Whether released async jobs still run: their `finally` may await something."""
        loop = self._parts.event_loop
        return loop is not None and loop.busy > 0

    def _leave(self) -> None:
        try:
            if not self._declared_dead:
                self._parts.heartbeat.leave(self._ended_how)
        except Exception as exc:  # noqa: BLE001 - the row is then ended by a rescue
            log.warning(
                "Failed to end the worker's row: %s",
                exc,
                extra={"action": "stop", "worker_id": self._parts.worker_id},
            )

    def _wait_for(self, done: Callable[[], bool], deadline: float) -> None:
        while not done() and time.monotonic() < deadline:
            self._parts.progress.wait(0.05)
            self._parts.progress.clear()
