"""Log lines: a short message, then stable fields as key=value. One event is one line, whatever it holds."""

import json
import logging
import re
import sys
import time
from functools import lru_cache

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


class LineFormatter(logging.Formatter):
    """`2026-11-24T02:00:00.123Z INFO Processing CleanupJob action=perform task_id=…`"""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; a traceback follows on lines that begin with a bar."""
        moment = f"{_second(int(record.created))}.{int(record.msecs):03d}Z"
        fields = "".join(
            f" {name}={_value(record.__dict__[name])}" for name in FIELDS if name in record.__dict__
        )
        line = f"{moment} {record.levelname} {one_line(self.message(record))}{fields}"
        if record.exc_info:
            trace = masked_text(self.formatException(record.exc_info))
            line += "".join(f"\n    | {one_line(part)}" for part in trace.splitlines())
        return line

    def message(self, record: logging.LogRecord) -> str:
        """What happened; masked where others have a word in it: where it went wrong, and in addresses."""
        text = record.getMessage()
        foreign = record.levelno >= logging.WARNING or record.name == "werkzeug"
        return masked_text(text) if foreign else text


@lru_cache(maxsize=8)
def _second(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


def _value(value: object) -> str:
    """A field's value, in quotes where it could be taken for more than one."""
    text = one_line(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def one_line(text: object) -> str:
    """`text` with its control characters and lone surrogates written out, as in `\\x0a`."""
    return _UNWRITABLE.sub(lambda found: f"\\x{ord(found.group()):02x}", str(text))
