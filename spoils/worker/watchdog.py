"""Ends a process that looks alive but makes no progress: its database calls or its threads hang."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from spoils import log_format
from spoils.worker import force_exit
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

HANGS_SECONDS = 60.0
CHECK_SECONDS = 5.0
LAST_WORDS_SECONDS = 3.0
EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h


class Performing(NamedTuple):
    """The progress of the pool threads and of the event loop."""

    moved_at: float
    """When an attempt last began, ended or was settled."""
    waiting: int
    """Claims that wait for a thread."""
    free: int
    """Threads that run no job, and async jobs that may begin."""
    blocked_seconds: float = 0.0
    """How long the event loop has been blocked: its jobs are not performed."""


class Stall:
    """How long claims have waited beside free threads without progress. Long jobs on all threads are no stall."""

    def __init__(self) -> None:
        self._moved_at: float | None = None
        self._since = 0.0

    def seconds(self, performing: Performing, now: float, *, awake: bool) -> float:
        """The length of the present stall. Call it often: a new claim waits for a moment, too."""
        stands_still = (
            performing.moved_at == self._moved_at and performing.waiting > 0 and performing.free > 0
        )
        if not stands_still or not awake:
            self._moved_at, self._since = performing.moved_at, now
        return now - self._since


class Watchdog:
    """Watches the loops whose ticks are short unless the database does not answer, and the pool threads."""

    def __init__(self, *, loops: Sequence[Loop], performing: Callable[[], Performing]) -> None:
        self._loops = loops
        self._performing = performing
        self._stall = Stall()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopping.set()

    def complaint(self, now: float, *, awake: bool) -> str | None:
        """What is wrong, in a sentence. Not `awake`: the process was frozen, so waits prove nothing."""
        if fallen := [loop.name for loop in self._loops if loop.fallen]:
            return f"The thread of the {fallen[0]} has ended"
        if awake and (hanging := [loop.name for loop in self._loops if loop.in_tick_seconds > HANGS_SECONDS]):
            return (
                f"Database calls of the {' and the '.join(hanging)} hang for more than {HANGS_SECONDS:.0f} s"
            )
        performing = self._performing()
        if awake and performing.blocked_seconds > HANGS_SECONDS:
            return f"A job has blocked the event loop for more than {HANGS_SECONDS:.0f} s"
        if self._stall.seconds(performing, now, awake=awake) > HANGS_SECONDS:
            return f"Claimed jobs have waited beside free threads for more than {HANGS_SECONDS:.0f} s"
        return None

    def _run(self) -> None:
        checked_at = time.monotonic()
        while not self._stopping.wait(CHECK_SECONDS):
            now = time.monotonic()
            if complaint := self.complaint(now, awake=now - checked_at < 2 * CHECK_SECONDS):
                force_exit.exit_within(LAST_WORDS_SECONDS)  # first: logging may hang
                log.critical(
                    "%s; exiting so that other workers take over", complaint, extra={"action": "stop"}
                )
                log_format.flush()
                os._exit(EXIT_CODE)
            checked_at = now
