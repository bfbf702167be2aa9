"""Error reports: any exception in a form that can be stored."""

import hashlib
import re
import traceback
from pathlib import Path
from types import TracebackType

from spoils.job.outcome import Report, RetryLater
from spoils.masking import masked_text

MAX_MESSAGE = 10_000
MAX_TRACEBACK = 50_000
BEYOND = 2_000
OURS = tuple(
    str(Path(__file__).parent.parent / name) for name in ("worker", "testing", "job/hooks.py", "job/steps.py")
)
"""The files and folders of what calls a job."""

_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\d+|'[^']*'|\"[^\"]*\"")


def report_of(error: BaseException) -> Report:
    """The report of an exception: class, message, traceback, and the fingerprint that groups similar errors."""
    # RetryLater is only how a job asks for its delay; what happened is what it was raised from.
    cause = error.__cause__ if isinstance(error, RetryLater) and error.__cause__ is not None else error
    name = type(cause).__name__
    message = storable(text_of(error) or name, MAX_MESSAGE)
    return Report(
        error_class=name,
        message=message,
        traceback=storable(_traceback_of(error), MAX_TRACEBACK),
        fingerprint=_fingerprint(name, error.__traceback__, message),
    )


def storable(text: str, limit: int) -> str:
    """`text` with its secrets masked, without what PostgreSQL refuses (NUL, lone surrogates), cut to `limit`.

    It is masked before it is stored: a search over stored errors would find a secret that pages mask, letter by letter.
    """
    cut = f" … ({len(text):,} characters)" if len(text) > limit else ""
    # What shows that a text is a secret may stand at its end, as the "@" of a URL.
    text = masked_text(text[: limit + BEYOND])[:limit] + cut
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def text_of(thing: object) -> str:
    """Its text, even where it has none: user code may have made it."""
    try:
        return str(thing)
    except BaseException as exc:  # noqa: BLE001 - user code
        return f"(its text could not be had: {type(exc).__name__})"


def _traceback_of(error: BaseException) -> str:
    try:
        # The frames of the worker above the job's own say nothing about the job.
        error = error.with_traceback(_ours_cut(error.__traceback__))
        lines = traceback.TracebackException.from_exception(error, limit=-40, max_group_width=5).format(
            chain=True
        )
        return "".join(lines)
    except BaseException as exc:  # noqa: BLE001 - it calls user code
        return f"(the traceback could not be had: {type(exc).__name__})"


def _ours_cut(trace: TracebackType | None) -> TracebackType | None:
    while (
        trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(OURS)
    ):
        trace = trace.tb_next
    return trace


def _fingerprint(name: str, trace: TracebackType | None, message: str) -> str:
    where = ""
    for frame in traceback.extract_tb(trace):
        if "site-packages" not in frame.filename and not frame.filename.startswith(OURS):
            where = f"{Path(frame.filename).name}:{frame.name}"
    like = _VARIABLE.sub("…", message.splitlines()[0][:500] if message else "")
    return hashlib.sha256(f"{name}|{where}|{like}".encode()).hexdigest()[:16]
