"""Ending a process that looks alive and does nothing: its database calls hang, or its threads do."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from spoils import log_format
from spoils.worker import force
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

HANGS_SECONDS = 60.0
LOOK_SECONDS = 5.0
LAST_WORDS_SECONDS = 3.0
EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h


class Performing(NamedTuple):
    """What the threads that perform are at."""

    moved_at: float
    """When an attempt last began, ended or was settled."""
    waiting: int
    """Claims in hand that no job performs and no settlement waits for."""
    free: int
    """Threads that are not in a job."""


class Stall:
    """Since when claims wait beside free threads and nothing moves. Long jobs on all threads are none."""

    def __init__(self) -> None:
        self._moved_at: float | None = None
        self._since = 0.0

    def seconds(self, performing: Performing, now: float, *, awake: bool) -> float:
        """How long it has been so at each look. Look often: a claim that has just come waits for a moment, too."""
        stands_still = (
            performing.moved_at == self._moved_at and performing.waiting > 0 and performing.free > 0
        )
        if not stands_still or not awake:
            self._moved_at, self._since = performing.moved_at, now
        return now - self._since


class Watchdog:
    """Looks at loops whose every tick is short unless the database does not answer (they wait for no lock for long),
    and at the threads that perform."""

    def __init__(self, *, loops: Sequence[Loop], performing: Callable[[], Performing]) -> None:
        self._loops = loops
        self._performing = performing
        self._stall = Stall()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()

    def complaint(self, now: float, *, awake: bool) -> str | None:
        """What is wrong, in a sentence. A process that was itself frozen has waited for nobody: `awake` is False."""
        if fallen := [loop.name for loop in self._loops if loop.fallen]:
            return f"The thread of the {fallen[0]} has ended"
        if awake and (hanging := [loop.name for loop in self._loops if loop.in_tick_seconds > HANGS_SECONDS]):
            return (
                f"Database calls of the {' and the '.join(hanging)} hang for more than {HANGS_SECONDS:.0f} s"
            )
        if self._stall.seconds(self._performing(), now, awake=awake) > HANGS_SECONDS:
            return f"Claimed tasks have waited beside free threads for more than {HANGS_SECONDS:.0f} s"
        return None

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._stopping.wait(LOOK_SECONDS):
            now = time.monotonic()
            if complaint := self.complaint(now, awake=now - looked_at < 2 * LOOK_SECONDS):
                force.end_within(LAST_WORDS_SECONDS)  # first: even the log may hang
                log.critical(
                    "%s: this process ends, and others take over", complaint, extra={"action": "stop"}
                )
                log_format.flush()
                os._exit(EXIT_CODE)
            looked_at = now
