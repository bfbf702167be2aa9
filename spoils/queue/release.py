"""Giving back what this worker holds in the table but not in its hands."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Connection,
    Uuid,
    all_,
    bindparam,
    case,
    cast,
    exists,
    func,
    null,
    select,
    update,
)
from sqlalchemy.orm import aliased

from spoils.models import WAITING, Task, TaskState

STATES = Task.__table__.c.state.type
waiting_again = case(
    (Task.retries > 0, cast(TaskState.RETRIED.value, STATES)), else_=cast(TaskState.NEW.value, STATES)
)
_twin = aliased(Task)
hash_kept = case(
    (
        exists(
            select(_twin.id).where(
                _twin.uniq_hash == Task.uniq_hash, _twin.state.in_(WAITING), _twin.id != Task.id
            )
        ),
        null(),
    ),
    else_=Task.uniq_hash,
)
"""Where Rust workers share the table a twin may wait by the time a task goes back: the task then runs without its hash,
as duplicates do that were adopted."""
GIVEN_BACK = {
    "uniq_hash": hash_kept,
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


def release_strays(connection: Connection, *, worker_id: UUID, held: Iterable[UUID]) -> list[UUID]:
    """Give back every task that is claimed by this worker and not among `held`; their ids.

    A claim whose answer was lost leaves such tasks: the row says ours, and nobody performs it.
    """
    return list(connection.execute(_RELEASE_STRAYS, {"worker_id": worker_id, "held": list(held)}).scalars())
