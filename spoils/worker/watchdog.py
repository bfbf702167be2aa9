"""Ending a process whose database calls hang, or a thread of which has died: it would only look alive."""

import logging
import os
import threading
import time
from collections.abc import Sequence

from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

HANGS_SECONDS = 60.0
LOOK_SECONDS = 5.0
EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h


class Watchdog:
    """Looks at how long each loop has been in its tick. A loop's ticks do nothing long but wait for the database."""

    def __init__(self, *, loops: Sequence[Loop]) -> None:
        self._loops = loops
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._stopping.wait(LOOK_SECONDS):
            now = time.monotonic()
            # A process that was itself frozen has not waited for the database in that time.
            awake = now - looked_at < 2 * LOOK_SECONDS
            looked_at = now
            if awake and (
                hanging := [loop.name for loop in self._loops if loop.in_tick_seconds > HANGS_SECONDS]
            ):
                log.critical(
                    "Database calls of %s hang for more than %.0f s: this process ends now, and others take over",
                    ", ".join(hanging),
                    HANGS_SECONDS,
                    extra={"action": "stop"},
                )
                os._exit(EXIT_CODE)
            if dead := [loop.name for loop in self._loops if loop.died]:
                log.critical(
                    "The threads of %s have died: this process ends now, and others take over",
                    ", ".join(dead),
                    extra={"action": "stop"},
                )
                os._exit(EXIT_CODE)
