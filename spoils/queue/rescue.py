"""Rescues the tasks of a dead worker."""

import logging
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Double,
    SmallInteger,
    String,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    text,
    update,
)

from spoils.job.outcome import Ending
from spoils.models import Attempt, Minute, Task, TaskState, Worker
from spoils.queue.backends import terminate
from spoils.queue.claim_scope import SUSPECT_CRASHES
from spoils.queue.fence import me
from spoils.queue.release import (
    CANCELLED,
    STATES,
    GivingBack,
    cancel_requested,
    giving_back,
    hash_in_waiting,
    ids_of,
    locked,
    only,
    ranked,
    state_in_waiting,
    waking,
    what_goes_back,
)

log = logging.getLogger("spoils.worker")

KILLED = "killed"
RESCUE_SECONDS = 10.0
"""For this long after a rescue has ended a worker's row, its tasks are left to the rescue, which counts crashes."""
CONDEMNED = "The worker died during three attempts of this task, the last time while it ran nothing else."
MOST_CRASHES = 2**15 - 2
"""One more than that is the last number that the column holds: an odd row must not end the statement of all."""

_END = (
    update(Worker)
    .where(
        Worker.id
        == select(Worker.id)
        .where(
            Worker.id == bindparam("worker_id"),
            Worker.ended_at.is_(None),
            cast(Worker.beat_at, String) == bindparam("beat"),
        )
        .with_for_update(skip_locked=True, key_share=True)
        .scalar_subquery()
    )
    .values(ended_at=func.clock_timestamp(), ended_how=KILLED, running=0)
    .returning(Worker.id)
)
# An open transaction of a frozen worker would block both the rescue and the rerun.
_END_SESSIONS = text(
    """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE application_name = 'spoils:' || :worker_id
      AND pid <> pg_backend_pid()
    """
)
_running = and_(
    Task.state == TaskState.IN_PROGRESS,
    Task.claimed_by == me,
    Worker.ended_at.is_not(None),
)
_tasks = (
    select(
        Task.id,
        Task.uniq_hash,
        Task.created_at,
        Task.claimed_at,
        Task.crashes,
        Worker.id.label("worker_id"),
        Worker.release,
    )
    .join(Worker, Task.claimed_by == Worker.id)
    .where(_running)
)
_held = locked(_tasks)
_number = (
    select(func.count())
    .select_from(Task)
    .join(Worker, Task.claimed_by == Worker.id)
    .where(_running)
    .scalar_subquery()
)
# Only a death while nothing else is claimed counts as the third crash: the others are innocent.
_alone = and_(_number == 1, bindparam("at_once", type_=Boolean), only.is_(None))
_crashes = func.least(_held.c.crashes, MOST_CRASHES) + 1
_deaths = case((_alone, _crashes), else_=func.least(_crashes, SUSPECT_CRASHES))
_judged = select(_held, _deaths.label("deaths"), (_deaths > SUSPECT_CRASHES).label("condemned")).cte("judged")
_ranked = ranked(_judged, among=_judged.c.condemned)
_condemned = _ranked.c.condemned
_rescued = (
    update(Task)
    .where(Task.id == _ranked.c.id)
    .values(
        crashes=cast(_ranked.c.deaths, SmallInteger),
        state=case(
            (_condemned, cast(TaskState.FAILED.value, STATES)),
            else_=state_in_waiting(Task.retries),
        ),
        uniq_hash=case((_condemned, Task.uniq_hash), else_=hash_in_waiting(_ranked)),
        error_message=case((_condemned, CONDEMNED), (cancel_requested, CANCELLED), else_=Task.error_message),
        cancel_requested_at=null(),
        claimed_by=case((_condemned, Task.claimed_by), else_=null()),
        claimed_at=case((_condemned, Task.claimed_at), else_=null()),
        updated_at=func.now(),
    )
    .returning(
        Task.id,
        Task.attempts,
        Task.task_type,
        Task.scheduled_at,
        _ranked.c.claimed_at,
        _ranked.c.worker_id,
        _ranked.c.release,
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
            # Infinity less a moment is an error.
            case(
                (
                    func.isfinite(_rescued.c.claimed_at),
                    cast(func.extract("epoch", func.now() - _rescued.c.claimed_at) * 1000, BigInteger),
                )
            ),
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
_RESCUE = GivingBack(
    select(select(func.count()).select_from(_rescued).scalar_subquery(), _number, waking(_rescued)).add_cte(
        _attempts, _minutes
    ),
    _tasks,
    "rescue",
)


@dataclass(frozen=True, slots=True)
class Rescue:
    """Whether this call ended the worker, how many tasks it released or failed, and how many it left, being locked."""

    ended: bool
    tasks: int
    left: int = 0


def rescue(connection: Connection, *, worker_id: UUID, beat: str) -> Rescue:
    """End a worker without a heartbeat since `beat`, and release its tasks with `crashes + 1`.

    On an autocommit connection. The row is ended first: while the worker can send heartbeats, its sessions must not be
    touched. They are terminated before its tasks are locked; `rescue_rest` releases what they still hold locked.
    """
    if connection.execute(_END, {"worker_id": worker_id, "beat": beat}).one_or_none() is None:
        return Rescue(False, 0)
    if refused := terminate(connection, _END_SESSIONS, {"worker_id": str(worker_id)}):
        # Then the fence alone protects: it rejects what the worker may still write.
        log.warning(
            "Failed to terminate the database sessions of a dead worker: %s",
            refused,
            extra={"action": "rescue", "worker_id": worker_id},
        )
    return _rescue_tasks(connection, worker_id, at_once=True)


def rescue_rest(connection: Connection, *, worker_id: UUID) -> Rescue:
    """Release what `rescue` has left. It fails none: tasks that were held beside may have been released."""
    return _rescue_tasks(connection, worker_id, at_once=False)


def _rescue_tasks(connection: Connection, worker_id: UUID, *, at_once: bool) -> Rescue:
    rows = _RESCUE.rows(connection, {"worker_id": str(worker_id), "at_once": at_once})
    tasks, number, _ = rows[-1]
    return Rescue(at_once, sum(row[0] for row in rows), number - tasks)


# Whose tasks a rescue is giving back, and counts the crash.
_in_rescue = and_(
    Worker.ended_how == KILLED,
    Worker.ended_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, RESCUE_SECONDS),
)
# The owners first: a row that has been claimed anew since the statement's snapshot has another one, which this snapshot
# may not know.
_gone = (
    select(Task.claimed_by.label("id"))
    .distinct()
    .where(
        Task.state == TaskState.IN_PROGRESS,
        Task.claimed_by.is_not(None),
        ~exists(
            select(Worker.id).where(Worker.id == Task.claimed_by, or_(Worker.ended_at.is_(None), _in_rescue))
        ),
    )
    .cte("gone")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_orphans = what_goes_back.join(_gone, Task.claimed_by == _gone.c.id).where(
    Task.state == TaskState.IN_PROGRESS
)
_ORPHANS = GivingBack(giving_back(locked(_orphans)), _orphans, "orphans")
_foreign = what_goes_back.where(
    Task.state == TaskState.IN_PROGRESS,
    Task.claimed_by.is_(None),
    Task.updated_at
    <= func.now() - func.make_interval(0, 0, 0, 0, 0, 0, cast(bindparam("timeout_seconds"), Double)),
)
_FOREIGN = GivingBack(giving_back(locked(_foreign)), _foreign, "foreign")


def rescue_orphans(connection: Connection) -> list[UUID]:
    """Release tasks whose owner's row has ended: they were claimed during its rescue. Their ids."""
    return ids_of(_ORPHANS.rows(connection, {}))


def rescue_foreign(connection: Connection, *, timeout_seconds: float) -> list[UUID]:
    """Release tasks that a worker of another system (no `claimed_by`) claimed longer ago than this. Their ids."""
    return ids_of(_FOREIGN.rows(connection, {"timeout_seconds": timeout_seconds}))
