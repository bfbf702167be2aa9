"""Ending a process whose database calls hang or whose rooms have fallen: it would look alive, and do nothing."""

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
    """Looks at loops whose every tick is short unless the database does not answer: they wait for no lock for long."""

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

    def complaint(self, *, awake: bool) -> str | None:
        """What is wrong, in a sentence. A process that was itself frozen has waited for nobody: `awake` is False."""
        if fallen := [loop.name for loop in self._loops if loop.fallen]:
            return f"The thread of the {fallen[0]} has ended"
        if awake and (hanging := [loop.name for loop in self._loops if loop.in_tick_seconds > HANGS_SECONDS]):
            return (
                f"Database calls of the {' and the '.join(hanging)} hang for more than {HANGS_SECONDS:.0f} s"
            )
        return None

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._stopping.wait(LOOK_SECONDS):
            now = time.monotonic()
            if complaint := self.complaint(awake=now - looked_at < 2 * LOOK_SECONDS):
                log.critical(
                    "%s: this process ends, and others take over", complaint, extra={"action": "stop"}
                )
                os._exit(EXIT_CODE)
            looked_at = now
