"""The limit for which a task waits: how much of it is taken, and when it frees."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text

from spoils.models import DbSession, HoldKind, LimitPlace, Parked, Task
from spoils.queue.holds import held_until

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class LimitState:
    """A key of a limit. Without `at_once` and `rate` no running release has such a limit any more."""

    key: str
    at_once: int | None
    rate: int | None
    per: float | None
    places: int
    """How many more tasks may start now."""
    free_at: datetime | None
    """When the next may, where the clock decides that."""
    held_until: datetime | None
    running: tuple[UUID, ...]
    """Some of the tasks that take its places."""


_ROOM = text(
    """
    SELECT room.places, room.next_at, defined.at_once, defined.rate, defined.per
    FROM
        spoils_limit_room(:key) AS room
        LEFT JOIN LATERAL (
            SELECT at_once, rate, per FROM spoils_limits
            WHERE label = split_part(:key, '=', 1)
            ORDER BY published_at DESC
            LIMIT 1
        ) AS defined ON true
    """
)


def limit_of(session: DbSession, task: Task) -> LimitState | None:
    """The key for which a task waits; None where it is under no limit."""
    key = session.scalar(select(Parked.key).where(Parked.task_id == task.id))
    if key is None:
        return None
    row = session.execute(_ROOM, {"key": key}).one()
    running = select(LimitPlace.task_id).where(LimitPlace.key == key, LimitPlace.free_at.is_(None))
    return LimitState(
        key=key,
        at_once=row.at_once,
        rate=row.rate,
        per=row.per,
        places=max(row.places, 0),
        free_at=row.next_at,
        held_until=held_until(session.connection(), HoldKind.KEY, key),
        running=tuple(session.scalars(running.order_by(LimitPlace.id).limit(MOST_NAMED))),
    )
