"""Giving back what this worker holds in the table but not in its hands."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    Uuid,
    all_,
    bindparam,
    case,
    cast,
    column,
    func,
    null,
    update,
)

from spoils.models import Task, TaskState

STATES = Task.__table__.c.state.type
waiting_again = case(
    (Task.retries > 0, cast(TaskState.RETRIED.value, STATES)), else_=cast(TaskState.NEW.value, STATES)
)
GIVEN_BACK = {
    "state": waiting_again,
    "scheduled_at": func.now(),
    "claimed_by": null(),
    "claimed_at": null(),
    "updated_at": func.now(),
}
"""The columns of a task that goes back uncounted: due now, its retries as they were."""

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


def release(connection: Connection, *, worker_id: UUID, tokens: Sequence[tuple[UUID, int]]) -> list[UUID]:
    """Give back claims (id, attempts) of this worker that were never started; the ids that were still its own."""
    values = {
        "ids": [task_id for task_id, _ in tokens],
        "fences": [attempts for _, attempts in tokens],
        "worker_id": worker_id,
    }
    return list(connection.execute(_RELEASE, values).scalars())


def release_strays(connection: Connection, *, worker_id: UUID, held: Iterable[UUID]) -> list[UUID]:
    """Give back every task that is claimed by this worker and not among `held`; their ids.

    A claim whose answer was lost leaves such tasks: the row says ours, and nobody performs it.
    """
    return list(connection.execute(_RELEASE_STRAYS, {"worker_id": worker_id, "held": list(held)}).scalars())
