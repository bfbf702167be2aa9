"""Whose turn it is to do what one worker does for all. Pure: time comes in as an argument."""

from collections.abc import Iterable
from uuid import UUID

TURN_SECONDS = 10.0


def has_turn(me: UUID, others: Iterable[UUID], now: float) -> bool:
    """Whether `now` (epoch seconds) lies in a turn of this worker's: each has one, after the other by their ids."""
    crew = sorted([me, *others])
    return crew[int(now // TURN_SECONDS) % len(crew)] == me
