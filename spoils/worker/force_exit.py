"""Ends this process, whatever hangs in it."""

import faulthandler
import os

_NOWHERE = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def exit_within(seconds: float) -> None:
    """End the process with code 1 in this many seconds.

    Call it before logging: a lock of the logging module may be what hangs. The timer runs in C and takes no lock, not
    even the interpreter's, so it also works while an extension module holds that, and while Python exits.
    """
    # Discard faulthandler's tracebacks: the reader of standard error may have stopped reading.
    faulthandler.dump_traceback_later(seconds, exit=True, file=_NOWHERE)
