"""What an attempt reports while it runs: its progress and its last log lines."""

import math
import time
from collections import deque
from collections.abc import Callable
from logging import Logger, LoggerAdapter
from typing import Any, NamedTuple

MOST_LINES = 200
LONGEST_LINE = 1_000
LONGEST_NOTE = 200


class Progress(NamedTuple):
    """How far a job is: `done` of `of`, which may be unknown."""

    done: float
    of: float | None
    note: str | None


class Line(NamedTuple):
    """A log line, and how many milliseconds after the start of the attempt it was written."""

    ms: int
    text: str


class Output:
    """The progress and the lines of one attempt. Any thread of the job may add to it while the heartbeat reads it."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self._lines: deque[Line] = deque(maxlen=MOST_LINES)
        self._started_at = time.monotonic()
        self.changed = False
        self.written_at = 0.0
        """When it was last stored, on the monotonic clock."""

    @property
    def lines(self) -> list[Line]:
        """The last 200 lines."""
        return list(self._lines)  # in one go, while no other thread runs

    def report(self, done: float, of: float | None, note: str | None) -> None:
        """Replace the progress. `note` is masked and short."""
        self.progress = Progress(*_checked(done, of), note)
        self.changed = True

    def add(self, text: str) -> None:
        """Add a line, which is masked and short."""
        self._lines.append(Line(round((time.monotonic() - self._started_at) * 1000), text))
        self.changed = True


class JobLog(LoggerAdapter[Logger]):
    """The logger of an attempt: `queue.log("text")` logs at INFO, and keeps the line with the attempt as well."""

    def __init__(self, logger: Logger, extra: dict[str, Any], *, keep: Callable[[str], None]) -> None:
        super().__init__(logger, extra)
        self._keep = keep

    def __call__(self, text: object, /) -> None:
        """Log the text at INFO, and keep it with the attempt."""
        self._keep(str(text))
        self.info("%s", text)


def _checked(done: float, of: float | None) -> tuple[float, float | None]:
    for number in (done, of):
        if number is not None and not (math.isfinite(number) and number >= 0):
            raise ValueError("The numbers of queue.progress must be finite and not negative.")
    return float(done), None if of is None else float(of)
