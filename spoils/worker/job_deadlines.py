"""Ends jobs that exceed their timeout, or that ignore an operator's cancel."""

import logging
import time
from collections.abc import Callable, Sequence

from spoils.job.outcome import Cancelled, Interrupted, TimedOut
from spoils.worker.attempt import Attempt
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

COOPERATION_SECONDS = 5.0
"""How long a job may take to notice `queue.cancelled` before it is interrupted."""
OBEDIENCE_SECONDS = 5.0
"""How long an interrupted job may take to end before its thread is given up."""
POSTPONED_SECONDS = 2.0
"""How long to postpone the exception while the job is in a module that holds locks. After that it is raised anyway, so
that a job that only logs ends too."""
AGAIN_SECONDS = 0.005
IDLE_SECONDS = 60.0


class JobDeadlines:
    """Interrupts the job's session and its code, then abandons the thread of a job that ignores it."""

    def __init__(
        self, *, running: Callable[[], Sequence[Attempt]], give_up: Callable[[Attempt, Interrupted], None]
    ) -> None:
        self._running = running
        self._give_up = give_up
        self.loop = Loop(name="job deadlines", tick=self.tick)

    def tick(self) -> float:
        """Check all running attempts; the seconds until the next deadline."""
        now = time.monotonic()
        return min((self._check_safely(attempt, now) for attempt in self._running()), default=IDLE_SECONDS)

    def _check_safely(self, attempt: Attempt, now: float) -> float:
        # An error of one job's class must not keep the others from being interrupted.
        try:
            return self._check(attempt, now)
        except Exception:
            log.exception(
                "Failed to interrupt a job", extra={"action": "interrupt", "task_id": attempt.task_id}
            )
            return 1.0

    def _check(self, attempt: Attempt, now: float) -> float:
        if attempt.interrupted_by is not None:
            return self._press(attempt, attempt.interrupted_by, now - attempt.interrupted_at)
        moment, kind = _end_of(attempt)
        if moment > now:
            return min(moment - now, IDLE_SECONDS)
        attempt.interrupt(kind)
        delay = self._press(attempt, kind, 0.0)
        log.warning(
            "Interrupting job: %s", kind.__doc__, extra={"action": "interrupt", "task_id": attempt.task_id}
        )
        return delay

    def _press(self, attempt: Attempt, kind: type[Interrupted], seconds: float) -> float:
        """Make an attempt end that was interrupted this many `seconds` ago."""
        if seconds >= OBEDIENCE_SECONDS:
            self._give_up(attempt, kind())
            return IDLE_SECONDS
        attempt.cut()  # also a session that it has opened since
        sent = attempt.interrupt_code(kind, anywhere=seconds >= POSTPONED_SECONDS)
        return OBEDIENCE_SECONDS - seconds if sent else AGAIN_SECONDS


def _end_of(attempt: Attempt) -> tuple[float, type[Interrupted]]:
    """When the attempt must end, and why."""
    ends: list[tuple[float, type[Interrupted]]] = [(float("inf"), TimedOut)]
    if attempt.job.timeout is not None:
        ends.append((attempt.started_at + attempt.job.timeout, TimedOut))
    if attempt.cancelled_at is not None:
        ends.append((attempt.cancelled_at + COOPERATION_SECONDS, Cancelled))
    return min(ends, key=lambda end: end[0])
