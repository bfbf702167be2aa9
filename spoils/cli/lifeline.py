"""How the programs of `bin/dev` end when `bin/dev` does, even where it was killed."""

import argparse
import os
import signal
import sys
import threading
from types import FrameType

OPTION = "--lifeline"


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the descriptor to watch."""
    parser.add_argument(OPTION, dest="lifeline", type=int, help=argparse.SUPPRESS)


def watch(descriptor: int) -> None:
    """End this process as SIGTERM does, once no process holds the other end of the pipe `descriptor`.

    The system closes that end when the parent dies, on Linux and macOS alike. A parent's death signal would be Linux's.
    """
    # Until the program has a handler of its own; without one the embedded server would not be stopped.
    signal.signal(signal.SIGTERM, leave)
    threading.Thread(target=_end_with, args=(descriptor,), name="lifeline", daemon=True).start()


def leave(_number: int, _frame: FrameType | None) -> None:
    """A signal's handler that ends the program and lets it tidy up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # one more would interrupt that
    sys.exit(0)


def _end_with(descriptor: int) -> None:
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)
