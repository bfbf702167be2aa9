"""How long the oldest due job of each type has been waiting, and which class it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, true
from sqlalchemy.dialects.postgresql import distinct_on

from spoils.models import WAITING, DbSession, Task
from spoils.queue.claim_scope import LEVELS, any_level, wanted


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of one type: since when its oldest due task waits, and the job class that it names."""

    task_type: str
    oldest_due_at: datetime
    job: str | None
    limited: bool
    """Whether it is under limits, which may be why it waits."""


_first_due = (
    select(
        Task.scheduled_at,
        Task.payload["type"].astext.label("job"),
        (Task.priority < min(LEVELS)).label("limited"),
    )
    .where(
        Task.task_type == wanted.c.task_type,
        Task.state.in_(WAITING),
        Task.priority == any_level.c.priority,
        Task.scheduled_at <= func.now(),
    )
    .order_by(Task.scheduled_at)
    .limit(1)
    .correlate(wanted, any_level)
    .lateral("first_due")
)
# One probe of the claim index for each type and priority: its cost does not grow with what waits.
_OLDEST = (
    select(wanted.c.task_type, _first_due.c.scheduled_at, _first_due.c.job, _first_due.c.limited)
    .ext(distinct_on(wanted.c.task_type))
    .select_from(wanted.join(any_level, true()).join(_first_due, true()))
    .order_by(wanted.c.task_type, _first_due.c.scheduled_at)
)


def oldest_waiting(session: DbSession, task_types: Sequence[str]) -> list[Waiting]:
    """For each type with a due task that waits: the oldest one."""
    rows = session.execute(_OLDEST, {"types": list(task_types)})
    return [Waiting(*row) for row in rows]
