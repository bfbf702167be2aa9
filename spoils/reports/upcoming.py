"""What is not due yet: how much of each type falls due when. Bounded for each type, whatever waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Float, Integer, bindparam, cast, func, select, true

from spoils.models import WAITING, DbSession, Task, TaskState
from spoils.queue.claim_scope import any_level, wanted

MOST = 5_000
"""This many are scanned in all, shared among the types; of each priority the next ones first."""
LEAST = 20
STEP_SECONDS = 900
STEPS = 96


@dataclass(frozen=True, slots=True)
class Later:
    """Tasks of one type and state that fall due within one quarter of an hour from now on; the last step has no end."""

    task_type: str
    state: TaskState
    step: int
    count: int
    first: datetime
    last: datetime


_near = (
    select(Task.state, Task.scheduled_at)
    .where(
        Task.task_type == wanted.c.task_type,
        Task.state.in_(WAITING),
        Task.priority == any_level.c.priority,
        Task.scheduled_at > func.now(),
    )
    .order_by(Task.scheduled_at)
    .limit(bindparam("most", type_=Integer))
    .correlate(wanted, any_level)
    .lateral("near")
)
# Infinity less a moment is an error: the far end is cut off first.
_within = func.least(_near.c.scheduled_at, func.now() + func.make_interval(0, 0, 0, 2)) - func.now()
_seconds = cast(func.extract("epoch", _within), Float)
_step = cast(func.least(func.floor(_seconds / STEP_SECONDS), STEPS), Integer)
_LATER = (
    select(
        wanted.c.task_type,
        _near.c.state,
        _step.label("step"),
        func.count().label("number"),
        func.min(_near.c.scheduled_at).label("first"),
        func.max(_near.c.scheduled_at).label("last"),
    )
    .select_from(wanted.join(any_level, true()).join(_near, true()))
    .group_by(wanted.c.task_type, _near.c.state, _step)
    .order_by(_step, wanted.c.task_type)
)


def most_of_each(types_looked_at: int) -> int:
    """How many of each type and priority are scanned."""
    return max(MOST // max(types_looked_at, 1), LEAST)


def later(session: DbSession, task_types: Sequence[str], *, most: int | None = None) -> list[Later]:
    """What of these types waits and is not due, by type, state and quarter of an hour; the soonest first."""
    most = most_of_each(len(task_types)) if most is None else most
    rows = session.execute(_LATER, {"types": list(task_types), "most": most})
    return [Later(row.task_type, row.state, row.step, row.number, row.first, row.last) for row in rows]
