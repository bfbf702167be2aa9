"""Reading the queue, for the API and the pages. Nothing here writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, or_, select, true
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import aliased, scoped_session

from spoils.models import ACTIVE, WAITING, Attempt, Schedule, Task, TaskState, Tick, TickEnding, Worker
from spoils.outcome import Ending
from spoils.queue.reach import level, wanted

Session = OrmSession | scoped_session[Any]

LIVE_SECONDS = 30.0
LATELY = 2000


@dataclass(frozen=True, slots=True)
class Twin:
    """The task that holds the unique hash of another one."""

    id: UUID
    state: TaskState


def find_task(session: Session, task_id: UUID) -> Task | None:
    """The task of that id."""
    return session.get(Task, task_id, populate_existing=True)


def attempts_of(session: Session, task_id: UUID, limit: int = 100) -> Sequence[Attempt]:
    """The task's attempts that did not finish, the last one first."""
    statement = (
        select(Attempt).where(Attempt.task_id == task_id).order_by(Attempt.attempt.desc(), Attempt.id.desc())
    )
    return session.scalars(statement.limit(limit)).all()


def uncounted_failures(connection: Connection, task_id: UUID) -> int:
    """How often the task was given back uncounted because the database failed it."""
    statement = (
        select(func.count())
        .select_from(Attempt)
        .where(
            Attempt.task_id == task_id, Attempt.outcome == Ending.RELEASED.value, Attempt.error_class != ""
        )
    )
    return connection.execute(statement).scalar_one()


def live_workers(session: Session) -> Sequence[Worker]:
    """Workers whose row is not ended and that beat within the last 30 s, oldest first."""
    recent = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, LIVE_SECONDS)
    statement = (
        select(Worker).where(Worker.ended_at.is_(None), Worker.beat_at > recent).order_by(Worker.started_at)
    )
    return session.scalars(statement).all()


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


def oldest_waiting(session: Session, task_types: Sequence[str]) -> list[Waiting]:
    """For each type with a due task that waits: since when the oldest one is due."""
    rows = session.execute(_OLDEST, {"types": list(task_types)})
    return [Waiting(task_type, moment) for task_type, moment in rows]


def schedules(session: Session) -> Sequence[Schedule]:
    """Every schedule that a worker has known, by class."""
    return session.scalars(select(Schedule).order_by(Schedule.job, Schedule.id)).all()


def last_ticks(session: Session, schedule_id: int, limit: int = 14) -> Sequence[Tick]:
    """The last slots of a schedule that were told, newest first."""
    statement = select(Tick).where(Tick.schedule_id == schedule_id).order_by(Tick.slot.desc()).limit(limit)
    return session.scalars(statement).all()


def troubled_ticks(
    session: Session, *, late_seconds: float, within: int = LATELY, limit: int = 20
) -> Sequence[Tick]:
    """Of the last `within` ticks of all schedules those that were skipped, missed or late, the last one first."""
    recent = select(Tick).order_by(Tick.slot.desc()).limit(within).subquery()
    tick = aliased(Tick, recent)
    late = tick.told_at - tick.slot > func.make_interval(0, 0, 0, 0, 0, 0, late_seconds)
    statement = (
        select(tick)
        .where(or_(tick.outcome != TickEnding.ENTERED.value, late))
        .order_by(tick.slot.desc(), tick.schedule_id)
        .limit(limit)
    )
    return session.scalars(statement).all()


def active_twin(session: Session, task: Task) -> Twin | None:
    """The waiting or running task of the same unique hash, if another one has it."""
    if task.uniq_hash is None:
        return None
    statement = select(Task.id, Task.state).where(
        Task.uniq_hash == task.uniq_hash,
        Task.id != task.id,
        Task.state.in_(ACTIVE),
    )
    row = session.execute(statement.limit(1)).one_or_none()
    return Twin(row.id, row.state) if row else None


def server_now(connection: Connection) -> datetime:
    """The database's clock."""
    moment: datetime = connection.execute(select(func.now())).scalar_one()
    return moment
