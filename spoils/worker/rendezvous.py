"""Ranks workers by rendezvous hashing. Pure: time comes in as an argument."""

from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID

TURN_SECONDS = 300.0


def rank(me: UUID, others: Iterable[UUID], now: float) -> int:
    """How many of the others come before this worker at `now` (epoch seconds). The order changes every five minutes.

    A worker that starts or stops changes the order of no others.
    """
    turn = int(now // TURN_SECONDS)

    def weight(one: UUID) -> bytes:
        return sha256(b"%d %b" % (turn, one.bytes)).digest()

    return sum(weight(one) < weight(me) for one in others)
