"""Log lines: a short message, then stable fields as key=value. One event is one line, whatever it holds."""

import json
import logging
import os
import re
import select
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from queue import SimpleQueue

from spoils.masking import masked_text

FIELDS = ("action", "task_id", "task_type", "attempt", "worker_id", "ran_ms", "delay_seconds")
STANDARD_OUTPUT = 1
MOST_CHARACTERS = 2_000_000
"""How much may wait to be written, some 10,000 lines; further lines are dropped, and counted."""
GATHER_SECONDS = 0.005
"""How long lines gather before they are written: to wake the writer for each would cost an eighth of a short job."""
FLUSH_SECONDS = 2.0

_PLAIN = re.compile(r'[^\s="]+')
# CR, LF, ESC and their kin: text from outside must not look like a line of ours. Half a character (a lone
# surrogate) has no UTF-8, and a line that holds one would not be written at all.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


TRACEBACKS = logging.getLogger("spoils.tracebacks")
"""While it logs at DEBUG, the line of a failed job is followed by the job's traceback."""


def set_up(level: str, *, tracebacks: bool = False) -> None:
    """Send everything at `level` and above to standard output, with `tracebacks` of failed jobs at any level."""
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(LineFormatter())]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    TRACEBACKS.setLevel(logging.DEBUG if tracebacks else logging.NOTSET)
    # No line of ours names a thread, a process or a line of source, and to find them out costs each record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    _output.start()


def flush() -> None:
    """Wait until all lines logged so far are written, at most `FLUSH_SECONDS`. `logging` does so when Python ends."""
    _output.flush()


class Output:
    """Writes lines to standard output, in their order, in a thread of its own.

    The thread that logs takes no lock here, so an interruption cannot leave one locked, and it does not wait for the
    reader of standard output, who may have stopped reading.
    """

    def __init__(self) -> None:
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._waiting = 0
        self._dropped = 0
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._start_over)

    def start(self) -> None:
        """Start the thread. Without it, as in a forked child, each line is written by the thread that logs it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def put(self, line: str) -> None:
        """Write `line` soon, or drop it where too much waits already."""
        length = len(line)
        if self._thread is None:
            _write(f"{line}\n")
        elif self._lines.empty() or self._waiting < MOST_CHARACTERS:
            self._lines.put(line)
            self._waiting += length
        else:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until the lines so far are written, at most `FLUSH_SECONDS`."""
        if self._thread is not None:
            written = threading.Event()
            self._lines.put(written)
            written.wait(FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            first = self._lines.get()
            select.select([], [], [], GATHER_SECONDS)
            self._waiting = 0
            waiting = [first, *(self._lines.get() for _ in range(self._lines.qsize()))]
            lines = [one for one in waiting if isinstance(one, str)]
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                message = f"Dropped {dropped} log lines: standard output is read too slowly"
                lines.append(f"{line_of(time.time(), 'WARNING', message)} action=log")
            _write("".join([f"{line}\n" for line in lines]))
            for one in waiting:
                if isinstance(one, threading.Event):
                    one.set()

    def _start_over(self) -> None:
        # The thread and the lines are the parent's.
        self._lines, self._waiting, self._dropped, self._thread = SimpleQueue(), 0, 0, None


def _write(text: str) -> None:
    # Not by sys.stdout: while nobody reads, its buffer and its lock would keep Python from ending.
    left = memoryview(text.encode("utf-8", "backslashreplace"))
    while left:
        try:
            left = left[os.write(STANDARD_OUTPUT, left) :]
        except BlockingIOError:
            select.select([], [STANDARD_OUTPUT], [])
        except OSError:
            return  # it is closed, and there is no other place to write to


_output = Output()


class LineHandler(logging.Handler):
    """Formats each record in the thread that logs it, and leaves the writing to the one `Output`."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Have none: an interruption that comes while a job logs would leave it locked for all threads."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """As logging's, without the lock."""
        passed: object = self.filter(record)
        if isinstance(passed, logging.LogRecord):
            record = passed  # from Python 3.12 on, a filter may replace it
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write it soon."""
        try:
            _output.put(self.format(record))
        except Exception:  # noqa: BLE001 - as logging's own handlers
            self.handleError(record)

    def flush(self) -> None:
        """Wait until what was logged is written, for a moment."""
        _output.flush()


class LineFormatter(logging.Formatter):
    """`2026-11-24T02:00:00.123Z INFO Processing CleanupJob action=perform task_id=…`"""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; a traceback follows on lines that begin with a bar."""
        line = line_of(record.created, record.levelname, self.message(record)) + _fields_of(record.__dict__)
        trace = record.__dict__.get("traceback")  # which others may log as what they like
        if trace is None and record.exc_info:
            trace = self.formatException(record.exc_info)
        if trace:
            line += "".join([f"\n    | {one_line(part)}" for part in masked_text(str(trace)).splitlines()])
        return line

    def message(self, record: logging.LogRecord) -> str:
        """The message, masked where it may hold what others wrote. Lines of plain progress of our own hold nothing."""
        text = record.getMessage()
        ours = str(record.name).startswith("spoils") and record.name != "spoils.job"
        return text if ours and record.levelno < logging.WARNING else masked_text(text)


def line_of(created: float, level: str, message: str) -> str:
    """The line of what happened at that moment (seconds since 1970), without fields."""
    second = int(created)
    return f"{_second(second)}.{int((created - second) * 1000):03d}Z {level} {one_line(message)}"


@lru_cache(maxsize=8)
def _second(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


def _fields_of(fields: Mapping[str, object]) -> str:
    return "".join([f" {name}={_value(fields[name])}" for name in FIELDS if name in fields])


def _value(value: object) -> str:
    """A field's value, in quotes where it could be taken for more than one."""
    text = one_line(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def one_line(text: object) -> str:
    """`text` with its control characters and lone surrogates written out, as in `\\x0a`."""
    line = str(text)
    # As nearly every line is: what is unwritable is not printable either.
    return line if line.isprintable() else _UNWRITABLE.sub(_written_out, line)


def _written_out(found: re.Match[str]) -> str:
    return f"\\x{ord(found.group()):02x}"
