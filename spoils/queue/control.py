"""The operator's verbs. Each refuses what it must not touch, and says why."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, case, cast, delete, exists, func, insert, null, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from spoils.models import ACTIVE, WAITING, Task, TaskState, Trash
from spoils.queue.release import CANCELLED, STATES, wake
from spoils.queue.trash import whole_row

_other = aliased(Task, name="other")
_waits = Task.state.in_(WAITING)

RULES = {
    "retry": "Only a failed job can be retried",
    "run_now": "Only a waiting job can be run now",
    "cancel": "Only a waiting or running job can be cancelled",
    "delete": "A job in progress can't be deleted",
}
RETRIED = {
    "state": TaskState.NEW,
    "retries": 0,
    "crashes": 0,
    "scheduled_at": func.now(),
    "claimed_by": null(),
    "claimed_at": null(),
    "cancel_requested_at": null(),
    "updated_at": func.now(),
}
"""The columns of a failed task that an operator retries; those below are of the other verbs."""
DUE_NOW = {"scheduled_at": func.least(Task.scheduled_at, func.now()), "updated_at": func.now()}
CANCELLED_OR_ASKED = {
    "state": case((_waits, cast(TaskState.FAILED.value, STATES)), else_=Task.state),
    "error_message": case((_waits, CANCELLED), else_=Task.error_message),
    "cancel_requested_at": case((_waits, null()), else_=func.now()),
    "updated_at": func.now(),
}


@dataclass(frozen=True, slots=True)
class Change:
    """What a verb did: `done`, or refused with a sentence and, where a twin stands in the way, its id."""

    done: bool
    sentence: str
    twin: UUID | None = None


def retry(connection: Connection, task_id: UUID) -> Change:
    """Make a failed task new, due now, with its retries at 0 and its failures kept."""
    statement = (
        update(Task)
        .where(
            Task.id == task_id,
            Task.state == TaskState.FAILED,
            # The index would refuse most twins by itself, but beside Rust workers not a running one.
            ~exists(
                select(_other.id).where(
                    _other.uniq_hash == Task.uniq_hash, _other.state.in_(ACTIVE), _other.id != task_id
                )
            ),
        )
        .values(RETRIED)
        .returning(Task.id)
    )
    try:
        with connection.begin_nested():
            done = connection.execute(statement).one_or_none() is not None
    except IntegrityError:
        done = False
    if not done:
        return _twin(connection, task_id) or _refusal(connection, task_id, RULES["retry"])
    wake(connection)
    return Change(True, "Retried 1 job.")


def run_now(connection: Connection, task_id: UUID) -> Change:
    """Make a waiting task due now."""
    statement = (
        update(Task).where(Task.id == task_id, Task.state.in_(WAITING)).values(DUE_NOW).returning(Task.id)
    )
    if connection.execute(statement).one_or_none() is None:
        return _refusal(connection, task_id, RULES["run_now"])
    wake(connection)
    return Change(True, "1 job is due now.")


def cancel(connection: Connection, task_id: UUID) -> Change:
    """Fail a waiting task, or ask a running one to stop."""
    statement = (
        update(Task)
        .where(Task.id == task_id, Task.state.in_(ACTIVE))
        .values(CANCELLED_OR_ASKED)
        .returning(Task.state)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return _refusal(connection, task_id, RULES["cancel"])
    asked = row.state == TaskState.IN_PROGRESS
    return Change(True, "1 running job was asked to stop." if asked else "Cancelled 1 job.")


def remove(connection: Connection, task_id: UUID) -> Change:
    """Move a task that is not in progress to the trash. Its attempts stay until they are pruned."""
    gone = (
        delete(Task)
        .where(Task.id == task_id, Task.state != TaskState.IN_PROGRESS)
        .returning(Task.id, whole_row())
        .cte("gone")
    )
    statement = insert(Trash).from_select(["task_id", "task"], select(gone)).returning(Trash.id)
    if connection.execute(statement).one_or_none() is None:
        return _refusal(connection, task_id, RULES["delete"])
    return Change(True, "Deleted 1 job.")


def _refusal(connection: Connection, task_id: UUID, rule: str) -> Change:
    row = connection.execute(select(Task.state, Task.attempts).where(Task.id == task_id)).one_or_none()
    if row is None:
        return Change(False, "Refused: the job is gone.")
    if row.state == TaskState.IN_PROGRESS:
        return Change(False, f"Refused: attempt {row.attempts} is in progress.")
    return Change(False, f"Refused: the job is {row.state.value}. {rule}.")


def _twin(connection: Connection, task_id: UUID) -> Change | None:
    own = select(Task.uniq_hash).where(Task.id == task_id).scalar_subquery()
    statement = select(Task.id, Task.state).where(
        Task.uniq_hash == own, Task.state.in_(ACTIVE), Task.id != task_id
    )
    row = connection.execute(statement.limit(1)).one_or_none()
    if row is None:
        return None
    words = "is in progress" if row.state == TaskState.IN_PROGRESS else "already waits"
    return Change(False, f"Refused: the same unique job {words}.", row.id)
