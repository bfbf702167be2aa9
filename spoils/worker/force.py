"""Ending this process, whatever hangs in it."""

import faulthandler
import os

_NOWHERE = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def end_within(seconds: float) -> None:
    """End the process with code 1 in so many seconds.

    Call it before you log: a lock of the log's may be what hangs. It takes no lock when the time has come, nor the
    interpreter's, so it works also while an extension module holds that, and while Python ends.
    """
    # Without the tracebacks that faulthandler prints: whoever should read them may have stopped reading.
    faulthandler.dump_traceback_later(seconds, exit=True, file=_NOWHERE)
