"""How long the oldest due job of each type has been waiting."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, true

from spoils.models import WAITING, DbSession, Task
from spoils.queue.claim_scope import level, wanted


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of one type: since when its oldest due task waits."""

    task_type: str
    oldest_due_at: datetime


_first_due = (
    select(Task.scheduled_at)
    .where(
        Task.task_type == wanted.c.task_type,
        Task.state.in_(WAITING),
        Task.priority == level.c.priority,
        Task.scheduled_at <= func.now(),
    )
    .order_by(Task.scheduled_at)
    .limit(1)
    .correlate(wanted, level)
    .lateral("first_due")
)
# One probe of the claim index for each type and priority: its cost does not grow with what waits.
_OLDEST = (
    select(wanted.c.task_type, func.min(_first_due.c.scheduled_at))
    .select_from(wanted.join(level, true()).join(_first_due, true()))
    .group_by(wanted.c.task_type)
)


def oldest_waiting(session: DbSession, task_types: Sequence[str]) -> list[Waiting]:
    """For each type with a due task that waits: since when the oldest one is due."""
    rows = session.execute(_OLDEST, {"types": list(task_types)})
    return [Waiting(task_type, moment) for task_type, moment in rows]
