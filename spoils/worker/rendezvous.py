"""Chooses one of several workers by rendezvous hashing. Pure: time comes in as an argument."""

from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID

TURN_SECONDS = 300.0


def is_chosen(me: UUID, others: Iterable[UUID], now: float) -> bool:
    """Whether this worker is the chosen one at `now` (epoch seconds). The choice changes every five minutes.

    A worker that starts or stops changes the choice only if it is the chosen one itself.
    """
    turn = int(now // TURN_SECONDS)
    return min([me, *others], key=lambda one: sha256(b"%d %b" % (turn, one.bytes)).digest()) == me
