"""Log lines: a short message, then stable fields as key=value. One event is one line, whatever it holds."""

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from spoils.masking import masked_text

FIELDS = ("action", "task_id", "task_type", "attempt", "worker_id", "ran_ms", "delay_seconds")

_PLAIN = re.compile(r'[^\s="]+')
# CR, LF, ESC and their kin: text from outside must not look like a line of ours. Half a character (a lone
# surrogate) has no UTF-8, and a line that holds one would not be written at all.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def set_up(level: str) -> None:
    """Send everything at `level` and above to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    # No line of ours names a thread, a process or a line of source, and to find them out costs each record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None


def tell(log: logging.Logger, message: str, fields: Mapping[str, object]) -> None:
    """Log a message as it stands, at INFO, for the lines of each job and each request.

    Where the line goes to the handler of `set_up` and nowhere else, no record is made of it, which would cost more than
    the line itself.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    handler = only_handler(log)
    if handler is None or type(handler.formatter) is not LineFormatter:
        log.info("%s", message, extra=fields)
    else:
        write(handler, f"{line_of(time.time(), 'INFO', message)}{_fields_of(fields)}")


def only_handler(log: logging.Logger) -> "logging.StreamHandler[Any] | None":
    """The handler that would write what `log` says, as it is and to a stream, where nobody else hears of it."""
    one, found = log, [*log.handlers]
    while one.propagate and one.parent is not None:
        one = one.parent
        found += one.handlers
    if log.filters or len(found) != 1 or type(handler := found[0]) is not logging.StreamHandler:
        return None
    return handler if not handler.filters and handler.level <= logging.INFO else None


def write(handler: "logging.StreamHandler[Any]", line: str) -> None:
    """Write a line as `handler` would. Where it cannot, it says so as `logging` does, and nothing is raised."""
    handler.acquire()
    try:
        handler.stream.write(f"{line}\n")
        handler.stream.flush()
    except Exception:  # noqa: BLE001 - as logging's own
        handler.handleError(logging.makeLogRecord({"msg": line}))
    finally:
        handler.release()


class LineFormatter(logging.Formatter):
    """`2026-11-24T02:00:00.123Z INFO Processing CleanupJob action=perform task_id=…`"""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; a traceback follows on lines that begin with a bar."""
        line = line_of(record.created, record.levelname, self.message(record)) + _fields_of(record.__dict__)
        if record.exc_info:
            trace = masked_text(self.formatException(record.exc_info))
            line += "".join(f"\n    | {one_line(part)}" for part in trace.splitlines())
        return line

    def message(self, record: logging.LogRecord) -> str:
        """What happened; masked where others have a word in it: where it went wrong, and in addresses."""
        text = record.getMessage()
        foreign = record.levelno >= logging.WARNING or record.name in ("werkzeug", "gunicorn.access")
        return masked_text(text) if foreign else text


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
