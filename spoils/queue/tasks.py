"""Reading one task and what belongs to it. Nothing here writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, func, select

from spoils.job.outcome import Ending
from spoils.models import Attempt, DbSession, Step, Task, TaskState
from spoils.queue.claim_scope import holds_hash


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A task that is a duplicate of another one, since it holds the same unique hash."""

    id: UUID
    state: TaskState


def find_task(session: DbSession, task_id: UUID) -> Task | None:
    """The task of that id."""
    return session.get(Task, task_id, populate_existing=True)


def attempts_of(session: DbSession, task_id: UUID, limit: int = 100) -> Sequence[Attempt]:
    """The task's attempts that did not finish, the last one first."""
    statement = (
        select(Attempt).where(Attempt.task_id == task_id).order_by(Attempt.attempt.desc(), Attempt.id.desc())
    )
    return session.scalars(statement.limit(limit)).all()


def steps_of(session: DbSession, task_id: UUID, limit: int = 100) -> Sequence[Step]:
    """The steps that the task has done, the first one first."""
    statement = select(Step).where(Step.task_id == task_id).order_by(Step.done_at, Step.name)
    return session.scalars(statement.limit(limit)).all()


def has_started(connection: Connection, task_id: UUID) -> bool:
    """Whether an attempt of the task has been recorded, of whatever outcome."""
    statement = select(Attempt.id).where(Attempt.task_id == task_id).limit(1)
    return connection.execute(statement).first() is not None


def uncounted_failures(connection: Connection, task_id: UUID) -> int:
    """How often the task was released uncounted because of the database."""
    statement = (
        select(func.count())
        .select_from(Attempt)
        .where(
            Attempt.task_id == task_id, Attempt.outcome == Ending.RELEASED.value, Attempt.error_class != ""
        )
    )
    return connection.execute(statement).scalar_one()


def active_duplicate(session: DbSession, task: Task) -> Duplicate | None:
    """The other task that holds the unique hash of `task`, if there is one."""
    if task.uniq_hash is None:
        return None
    statement = select(Task.id, Task.state).where(
        Task.uniq_hash == task.uniq_hash,
        Task.id != task.id,
        holds_hash(),
    )
    row = session.execute(statement.limit(1)).one_or_none()
    return Duplicate(row.id, row.state) if row else None


def server_now(connection: Connection) -> datetime:
    """The database's clock."""
    moment: datetime = connection.execute(select(func.now())).scalar_one()
    return moment
