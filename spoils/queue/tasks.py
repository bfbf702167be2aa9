"""Reading one task and what belongs to it. Nothing here writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, func, select

from spoils.job.outcome import Ending
from spoils.models import ACTIVE, Attempt, DbSession, Task, TaskState


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An active task that has the unique hash of another one."""

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
    """The waiting or running task of the same unique hash, if another one has it."""
    if task.uniq_hash is None:
        return None
    statement = select(Task.id, Task.state).where(
        Task.uniq_hash == task.uniq_hash,
        Task.id != task.id,
        Task.state.in_(ACTIVE),
    )
    row = session.execute(statement.limit(1)).one_or_none()
    return Duplicate(row.id, row.state) if row else None


def server_now(connection: Connection) -> datetime:
    """The database's clock."""
    moment: datetime = connection.execute(select(func.now())).scalar_one()
    return moment
