"""Failing tasks whose class no worker has known for a day."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, bindparam, exists, func, or_, select, true, update

from spoils.models import Pause, PauseKind, Task, TaskState, Worker
from spoils.queue.claim_scope import any_level, waits, wanted
from spoils.queue.fence import locking

MOST = 1_000
"""The tasks of one type and priority that are read, those that are due longest first."""
SETTLED_MINUTES = 10
"""How long a worker must have been running before it fails any."""

_DAY_AGO = func.now() - func.make_interval(0, 0, 0, 1)
# After an outage of more than a day the first worker to start must not fail what only the next one knows.
_has_settled = exists(
    select(Worker.id).where(
        Worker.id == bindparam("worker_id"),
        Worker.ended_at.is_(None),
        Worker.started_at < func.now() - func.make_interval(0, 0, 0, 0, 0, SETTLED_MINUTES),
    )
)
# Workers that have stopped since too: those of their release may be about to start again.
_recent = or_(Worker.ended_at.is_(None), Worker.ended_at > _DAY_AGO)
_known = (
    select(func.jsonb_object_keys(Worker.job_classes).label("name"))
    .where(_recent)
    .cte("known")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_any_may_be_known = exists(select(Worker.id).where(_recent, Worker.job_classes.is_(None)))
_paused = exists(
    select(Pause.name).where(Pause.kind == PauseKind.TASK_TYPE.value, Pause.name == wanted.c.task_type)
)
_old = (
    select(Task.id, Task.payload["type"].astext.label("name"))
    .where(
        Task.task_type == wanted.c.task_type,
        Task.priority == any_level.c.priority,
        waits,
        Task.scheduled_at < _DAY_AGO,
    )
    .order_by(Task.scheduled_at, Task.id)
    .limit(MOST)
    .correlate(wanted, any_level)
    .lateral("old")
)
_unknown = (
    select(_old.c.id, _old.c.name)
    .select_from(wanted.join(any_level, true()).join(_old, true()))
    .where(_has_settled, ~_paused, ~_any_may_be_known, _old.c.name.not_in(select(_known.c.name)))
    .cte("unknown")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
# A worker that knows the class may have registered just now, and claim the task.
_held = locking(select(Task.id, _unknown.c.name).join(_unknown, _unknown.c.id == Task.id).where(waits)).cte(
    "held"
)
_FAIL = (
    update(Task)
    .where(Task.id == _held.c.id)
    .values(
        state=TaskState.FAILED,
        error_message=func.concat(
            'No worker has known the job class "', func.left(_held.c.name, 200), '" for a day.'
        ),
        updated_at=func.now(),
    )
)


def fail_unknown(connection: Connection, *, worker_id: UUID, task_types: Sequence[str]) -> int:
    """Fail tasks of these types that have been due for a day, and whose class no worker has known within it. How many.

    No-op unless the worker has been running for a while. A worker of a release that published no classes may know any.
    Tasks of paused types wait on.
    """
    return connection.execute(_FAIL, {"worker_id": worker_id, "types": list(task_types)}).rowcount
