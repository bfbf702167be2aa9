"""How many connections each process of one gunicorn has, in memory that all of them share.

All hear of a new connection at once, and it stays with the process that takes it: of four clients that keep theirs,
one of two processes would often get three.
"""

import mmap

PLACES = 256
_NOBODY = 255

# Made before the processes are: gunicorn loads the class of its workers first.
_counts = mmap.mmap(-1, PLACES)
_counts[:] = bytes([_NOBODY]) * PLACES


def tell(process: int, connections: int) -> None:
    """That the process of this number has so many connections."""
    _counts[process % PLACES] = min(connections, _NOBODY - 1)


def forget(process: int) -> None:
    """That the process of this number is no more."""
    _counts[process % PLACES] = _NOBODY


def is_fewest(connections: int) -> bool:
    """Whether no process has fewer connections than so many."""
    return min(_counts[:]) >= min(connections, _NOBODY - 1)
