"""How the programs of `bin/dev` end when `bin/dev` does, even where it was killed."""

import os
import signal
import sys
import threading
from types import FrameType

import click

OPTION = "--lifeline"
option = click.option(OPTION, "descriptor", type=int, hidden=True)
"""The option of a program that names the descriptor to watch."""


def watch(descriptor: int) -> None:
    """End this process as SIGTERM does, once no process holds the other end of the pipe `descriptor`.

    The system closes that end when the parent dies, on Linux and macOS alike. A parent's death signal would be Linux's.
    """
    # Until the program has handlers of its own; without any the embedded server would not be stopped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    # A terminal that closes sends it to all, and the parent then ends its children well.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(descriptor,), name="lifeline", daemon=True).start()


def leave(_number: int, _frame: FrameType | None) -> None:
    """A signal's handler that ends the program and lets it tidy up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # One more would interrupt that. SIG_IGN would have Python print an error over one that is on its way.
        signal.signal(number, _do_nothing)
    sys.exit(0)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def _end_with(descriptor: int) -> None:
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)
