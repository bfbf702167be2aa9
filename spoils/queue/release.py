"""Giving back what this worker holds in the table but not in its hands, or has not begun."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    Uuid,
    all_,
    and_,
    bindparam,
    case,
    cast,
    column,
    exists,
    func,
    null,
    select,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.sql.elements import ColumnElement

from spoils.models import WAITING, Task, TaskState

CANCELLED = "Cancelled by an operator."
STATES = Task.__table__.c.state.type

# PostgreSQL refuses a commit with notifications while their queue is full. Workers poll as well.
may_notify = func.pg_notification_queue_usage() < 0.5
cancel_requested = Task.cancel_requested_at.is_not(None)
_twin = aliased(Task, name="twin")
_twin_waits = exists(
    select(_twin.id).where(_twin.uniq_hash == Task.uniq_hash, _twin.state.in_(WAITING), _twin.id != Task.id)
)
# Only beside Rust workers, where the unique index leaves out what runs: a twin may have come to wait meanwhile.
# It keeps the hash, and this task waits without one.
hash_in_waiting = case((and_(Task.uniq_hash.is_not(None), _twin_waits), null()), else_=Task.uniq_hash)


def state_in_waiting(retries: ColumnElement[int] | InstrumentedAttribute[int]) -> ColumnElement[TaskState]:
    """The state of a task that goes back: `retried` or `new`, but `failed` where an operator cancelled it meanwhile."""
    return case(
        (cancel_requested, cast(TaskState.FAILED.value, STATES)),
        (retries > 0, cast(TaskState.RETRIED.value, STATES)),
        else_=cast(TaskState.NEW.value, STATES),
    )


GIVEN_BACK = {
    "state": state_in_waiting(Task.retries),
    "uniq_hash": hash_in_waiting,
    "error_message": case((cancel_requested, CANCELLED), else_=Task.error_message),
    "scheduled_at": func.now(),
    "claimed_by": null(),
    "claimed_at": null(),
    "cancel_requested_at": null(),
    "updated_at": func.now(),
}
"""The columns of a task that goes back uncounted: due now, its retries as they were."""

_given = (
    func.unnest(bindparam("ids", type_=ARRAY(Uuid)), bindparam("fences", type_=ARRAY(Integer)))
    .table_valued(column("id", Uuid), column("attempts", Integer), name="given")
    .render_derived()
)
_RELEASE = (
    update(Task)
    .where(
        Task.id == _given.c.id,
        Task.state == TaskState.IN_PROGRESS,
        Task.claimed_by == bindparam("worker_id"),
        Task.attempts == _given.c.attempts,
    )
    .values(GIVEN_BACK)
    .returning(Task.id)
)
_RELEASE_STRAYS = (
    update(Task)
    .where(
        Task.state == TaskState.IN_PROGRESS,
        Task.claimed_by == bindparam("worker_id"),
        Task.id != all_(bindparam("held", type_=ARRAY(Uuid))),
    )
    .values(GIVEN_BACK)
    .returning(Task.id)
)


def release(connection: Connection, *, worker_id: UUID, tokens: Sequence[tuple[str, int]]) -> list[UUID]:
    """Give back claims (id, attempts) of this worker that were never started; the ids that were still its own."""
    values = {
        "ids": [UUID(task_id) for task_id, _ in tokens],
        "fences": [attempts for _, attempts in tokens],
        "worker_id": worker_id,
    }
    given_back = list(connection.execute(_RELEASE, values).scalars())
    if given_back:
        wake(connection)
    return given_back


def release_strays(connection: Connection, *, worker_id: UUID, held: Iterable[str]) -> list[UUID]:
    """Give back every task that is claimed by this worker and not among `held`; their ids.

    A claim whose answer was lost leaves such tasks: the row says ours, and nobody performs it.
    """
    values = {"worker_id": worker_id, "held": [UUID(task_id) for task_id in held]}
    given_back = list(connection.execute(_RELEASE_STRAYS, values).scalars())
    if given_back:
        wake(connection)
    return given_back


def wake(connection: Connection) -> None:
    """Wake the idle workers: tasks are due that no insert has told of."""
    connection.execute(select(func.pg_notify("spoils_tasks", "0")).where(may_notify))
