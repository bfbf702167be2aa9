"""Ending jobs that run past their timeout, or that an operator has cancelled and that do not listen."""

import logging
import time
from collections.abc import Callable, Sequence

from spoils.outcome import Cancelled, Interrupted, TimedOut
from spoils.worker.attempt import Attempt
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

COOPERATION_SECONDS = 5.0
"""How long a job may take to notice `queue.cancelled` by itself."""
OBEDIENCE_SECONDS = 5.0
"""How long an interrupted job may take to end before its thread is given up."""
IDLE_SECONDS = 60.0


class Timekeeper:
    """Interrupts first, in the job's own code and in its query; gives up the thread of a job that ignores it."""

    def __init__(
        self, *, running: Callable[[], Sequence[Attempt]], give_up: Callable[[Attempt, Interrupted], None]
    ) -> None:
        self._running = running
        self._give_up = give_up
        self.loop = Loop(name="timekeeper", tick=self.tick)

    def tick(self) -> float:
        """Look at what runs; the seconds until the next moment that matters."""
        now = time.monotonic()
        return min((self._look_safely(attempt, now) for attempt in self._running()), default=IDLE_SECONDS)

    def _look_safely(self, attempt: Attempt, now: float) -> float:
        # A session that cannot be cancelled any more must not keep the others from their end.
        try:
            return self._look(attempt, now)
        except Exception:
            log.exception("Interrupting failed", extra={"action": "interrupt", "task_id": attempt.task_id})
            return 1.0

    def _look(self, attempt: Attempt, now: float) -> float:
        if attempt.interrupted_at is not None:
            left = attempt.interrupted_at + OBEDIENCE_SECONDS - now
            if left <= 0 and attempt.interrupted_by is not None:
                self._give_up(attempt, attempt.interrupted_by())
                return IDLE_SECONDS
            return max(left, 0.01)
        moment, kind = _end_of(attempt)
        if moment > now:
            return min(moment - now, IDLE_SECONDS)
        if attempt.interruption.interrupt(kind):
            attempt.interrupted_at, attempt.interrupted_by = now, kind
            attempt.interrupt()
            log.warning(
                "Interrupting: %s", kind.__doc__, extra={"action": "interrupt", "task_id": attempt.task_id}
            )
        return OBEDIENCE_SECONDS


def _end_of(attempt: Attempt) -> tuple[float, type[Interrupted]]:
    """When the attempt must end, and for what reason."""
    ends: list[tuple[float, type[Interrupted]]] = [(float("inf"), TimedOut)]
    if attempt.timeout is not None:
        ends.append((attempt.started_at + attempt.timeout, TimedOut))
    if attempt.cancelled_at is not None:
        ends.append((attempt.cancelled_at + COOPERATION_SECONDS, Cancelled))
    return min(ends, key=lambda end: end[0])
