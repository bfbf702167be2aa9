"""Giving back what a dead worker held."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Connection,
    SmallInteger,
    String,
    bindparam,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    null,
    select,
    text,
    update,
)

from spoils.models import Attempt, Minute, Task, TaskState, Worker
from spoils.outcome import Ending
from spoils.queue.reach import SUSPECT_CRASHES
from spoils.queue.release import (
    CANCELLED,
    GIVEN_BACK,
    STATES,
    cancel_requested,
    hash_in_waiting,
    may_notify,
    state_in_waiting,
    wake,
)

CONDEMNED = (
    "The worker died during three attempts of this task, the last time with nothing else in its hands."
)

# An open transaction of a frozen worker would block both the rescue and the rerun, so its backends go first.
_TERMINATE = text(
    """
    SELECT pg_terminate_backend(activity.pid)
    FROM pg_stat_activity AS activity
    JOIN spoils_workers AS worker ON activity.application_name = 'spoils:' || worker.id
    WHERE worker.id = :worker_id
      AND worker.ended_at IS NULL
      AND worker.beat_at::text = :beat
      AND activity.pid <> pg_backend_pid()
    """
)

_dead = (
    update(Worker)
    .where(
        Worker.id == bindparam("worker_id"),
        Worker.ended_at.is_(None),
        cast(Worker.beat_at, String) == bindparam("beat"),
    )
    .values(ended_at=func.clock_timestamp(), ended_how="killed", running=0)
    .returning(Worker.id, Worker.release)
    .cte("dead")
)
_held = (
    select(Task.id, Task.claimed_at, _dead.c.id.label("worker_id"), _dead.c.release)
    .join(_dead, Task.claimed_by == _dead.c.id)
    .where(Task.state == TaskState.IN_PROGRESS)
    .with_for_update(of=Task)
    .cte("held")
)
_alone = select(func.count()).select_from(_held).scalar_subquery() == 1
# Only a death in solitude condemns: who was claimed beside the culprit stays below the third crash for ever.
_crashes = case((_alone, Task.crashes + 1), else_=func.least(Task.crashes + 1, SUSPECT_CRASHES))
_condemned = _crashes > SUSPECT_CRASHES
_rescued = (
    update(Task)
    .where(Task.id == _held.c.id)
    .values(
        crashes=cast(_crashes, SmallInteger),
        state=case(
            (_condemned, cast(TaskState.FAILED.value, STATES)),
            else_=state_in_waiting(Task.retries),
        ),
        uniq_hash=case((_condemned, Task.uniq_hash), else_=hash_in_waiting),
        error_message=case((_condemned, CONDEMNED), (cancel_requested, CANCELLED), else_=Task.error_message),
        cancel_requested_at=null(),
        scheduled_at=case((_condemned, Task.scheduled_at), else_=func.now()),
        claimed_by=case((_condemned, Task.claimed_by), else_=null()),
        claimed_at=case((_condemned, Task.claimed_at), else_=null()),
        updated_at=func.now(),
    )
    .returning(
        Task.id,
        Task.attempts,
        Task.task_type,
        Task.state,
        _held.c.claimed_at,
        _held.c.worker_id,
        _held.c.release,
    )
    .cte("rescued")
)
_attempts = (
    insert(Attempt)
    .from_select(
        [
            "task_id",
            "attempt",
            "task_type",
            "outcome",
            "worker_id",
            "release",
            "claimed_at",
            "ended_at",
            "ran_ms",
            "error_class",
            "message",
            "fingerprint",
        ],
        select(
            _rescued.c.id,
            _rescued.c.attempts,
            _rescued.c.task_type,
            literal(Ending.CRASHED.value),
            _rescued.c.worker_id,
            _rescued.c.release,
            _rescued.c.claimed_at,
            func.now(),
            cast(func.extract("epoch", func.now() - _rescued.c.claimed_at) * 1000, BigInteger),
            literal("Crashed"),
            literal("The worker died while it performed this task."),
            "crashed:" + _rescued.c.task_type,
        ),
    )
    .cte("attempts")
)
_minutes = (
    insert(Minute)
    .from_select(
        ["minute", "task_type", "outcome", "bucket", "count", "ran_ms"],
        select(
            func.date_trunc("minute", func.now()),
            _rescued.c.task_type,
            literal(Ending.CRASHED.value),
            literal(0),
            func.count(),
            literal(0),
        ).group_by(_rescued.c.task_type),
    )
    .cte("minutes")
)
# Overdue, so that claims look from the head: where a lock held this statement up, they have passed its moment already.
_notified = (
    select(func.pg_notify("spoils_tasks", "-60"))
    .where(exists(select(_rescued.c.id)), may_notify)
    .cte("notified")
)
_RESCUE = select(
    select(func.count()).select_from(_dead).scalar_subquery().label("ended"),
    select(func.count()).select_from(_rescued).scalar_subquery().label("tasks"),
    select(func.count()).select_from(_notified).scalar_subquery(),
).add_cte(_attempts, _minutes)


@dataclass(frozen=True, slots=True)
class Rescue:
    """Whether this call was the one that ended the worker, and how many tasks it gave back or failed."""

    ended: bool
    tasks: int


def rescue(connection: Connection, *, worker_id: UUID, beat: str) -> Rescue:
    """End a worker that has not beaten since `beat`, and give back its tasks with `crashes + 1`.

    On an autocommit connection: its backends are told to go before its rows are touched, whose locks then come free.
    """
    connection.execute(_TERMINATE, {"worker_id": worker_id, "beat": beat})
    row = connection.execute(_RESCUE, {"worker_id": worker_id, "beat": beat}).one()
    return Rescue(bool(row.ended), row.tasks)


_ORPHANS = (
    update(Task)
    .where(
        Task.state == TaskState.IN_PROGRESS,
        Task.claimed_by.is_not(None),
        ~exists(select(Worker.id).where(Worker.id == Task.claimed_by, Worker.ended_at.is_(None))),
    )
    .values(GIVEN_BACK)
    .returning(Task.id)
)


def rescue_orphans(connection: Connection) -> list[UUID]:
    """Give back tasks whose owner's row has ended: claimed in the very moment of its rescue. Their ids."""
    given_back = list(connection.execute(_ORPHANS).scalars())
    if given_back:
        wake(connection)
    return given_back


def rescue_foreign(connection: Connection, *, timeout_seconds: float) -> list[UUID]:
    """Give back tasks that a worker of another system (no `claimed_by`) took longer than this ago. Their ids."""
    statement = (
        update(Task)
        .where(
            Task.state == TaskState.IN_PROGRESS,
            Task.claimed_by.is_(None),
            Task.updated_at <= func.now() - func.make_interval(0, 0, 0, 0, 0, 0, timeout_seconds),
        )
        .values(GIVEN_BACK)
        .returning(Task.id)
    )
    given_back = list(connection.execute(statement).scalars())
    if given_back:
        wake(connection)
    return given_back
