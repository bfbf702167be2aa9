"""Run times of jobs, for every list, page and API answer."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, func, select, true

from spoils.models import Attempt, DbSession, Task, TaskState

_wanted = func.unnest(bindparam("ids", type_=ARRAY(Uuid))).table_valued("id", name="wanted").render_derived()
_last = (
    select(Attempt.ran_ms)
    .where(Attempt.task_id == _wanted.c.id)
    .order_by(Attempt.attempt.desc(), Attempt.id.desc())
    .limit(1)
    .correlate(_wanted)
    .lateral("last")
)
# A probe for each task: one that is tried for weeks has thousands of attempts.
_LAST = select(_wanted.c.id, _last.c.ran_ms).select_from(_wanted.join(_last, true()))


def last_ran_ms(session: DbSession, tasks: Sequence[Task]) -> dict[UUID, float]:
    """How long the last attempt of each of these took, where that is known; what runs is left out."""
    found = {task.id: ran for task in tasks if (ran := finished_ms(task)) is not None}
    others = [task.id for task in tasks if task.state not in (TaskState.FINISHED, TaskState.IN_PROGRESS)]
    if others:
        rows = session.execute(_LAST, {"ids": others})
        found |= {task_id: ran_ms for task_id, ran_ms in rows if ran_ms is not None}
    return found


def finished_ms(task: Task) -> float | None:
    """How long the attempt that finished this task took, from its claim; None of any other task.

    Its row is all that a finished attempt leaves.
    """
    if task.state is not TaskState.FINISHED or task.claimed_at is None:
        return None
    return _ms(task.claimed_at, task.updated_at)


def running_ms(task: Task, now: datetime) -> float:
    """How long a task in progress has been so. Another system's claim is its last change."""
    return _ms(task.claimed_at or task.updated_at, now)


def _ms(since: datetime, until: datetime) -> float:
    return max((until - since).total_seconds() * 1_000, 0.0)
