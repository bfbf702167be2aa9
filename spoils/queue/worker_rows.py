"""The row of a worker: registering, heartbeats, leaving."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Float,
    String,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from spoils.db import arrays
from spoils.db.statements import Statement
from spoils.models import Hold, HoldKind, Parked, Pause, PauseKind, Task, TaskState, Worker
from spoils.queue.backends import terminate
from spoils.queue.claim_scope import LEVELS, SUSPECT_CRASHES, known_here, level, types, waits, wanted

LOOKAHEAD_SECONDS = 2.5
_EVICT = text(
    """
    SELECT pg_terminate_backend(pid)
    FROM pg_locks
    WHERE locktype = 'advisory'
      AND objsubid = 1
      AND granted
      AND (classid::bigint << 32 | objid::bigint) = :key
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND pid <> pg_backend_pid()
    """
)


def lock_key(worker_id: UUID) -> int:
    """The number of the session-level advisory lock that a living worker holds."""
    return int.from_bytes(worker_id.bytes[:8], "big", signed=True)


def enter(connection: Connection, values: dict[str, Any]) -> None:
    """Insert the worker's row; `values` are columns of `Worker`."""
    # Done again where the first answer was lost.
    connection.execute(
        insert(Worker)
        .values(beat_at=func.clock_timestamp(), **values)
        .on_conflict_do_nothing(index_elements=["id"])
    )


def take_lock(connection: Connection, worker_id: UUID) -> bool:
    """Take the worker's lock for the life of this database session."""
    return bool(connection.scalar(select(func.pg_try_advisory_lock(lock_key(worker_id)))))


def evict(connection: Connection, worker_id: UUID) -> None:
    """End the session that holds the worker's lock: its own previous one, which is gone."""
    terminate(connection, _EVICT, {"key": lock_key(worker_id)})


@dataclass(frozen=True, slots=True)
class OtherWorker:
    """Another worker whose row has not ended."""

    id: UUID
    beat: str  # its `beat_at` as text, to be compared for equality only
    holds_lock: bool | None  # None if it has none, because of a pooler
    claims_suspect: bool = False  # whether it claims tasks of the type of the suspect that is due


@dataclass(frozen=True, slots=True)
class HeartbeatResult:
    """What a heartbeat returned: nothing (`alive` is False) if the worker's row has ended."""

    alive: bool
    next_due_seconds: float | None = None
    """Until the next task of ours falls due, within the look-ahead."""
    suspect_due: bool = False
    cancelled: frozenset[UUID] = frozenset()
    draining: bool = False  # it stops, or an operator has asked it to claim nothing more
    paused: frozenset[str] = frozenset()  # task types that are paused or held
    others: tuple[OtherWorker, ...] = ()
    others_differ: bool = False  # whether one of them publishes other job classes, or other fields of one
    limited: bool = False  # whether any task under limits waits
    server: str = ""  # which start of which server answered, to be compared for equality only


_me = cast(bindparam("worker_id", type_=Text), Uuid)
_beat = (
    update(Worker)
    .where(Worker.id == _me, Worker.ended_at.is_(None))
    .values(
        beat_at=func.clock_timestamp(),
        rss=bindparam("rss"),
        running=bindparam("running"),
        # An operator's request stays; the worker itself only sets it.
        draining=or_(Worker.draining, bindparam("stopping")),
    )
    .returning(Worker.id, Worker.draining, Worker.job_classes)
    .cte("beat")
)
_soonest = (
    select(Task.scheduled_at)
    .where(
        Task.task_type == wanted.c.task_type,
        waits,
        Task.priority == level.c.priority,
        Task.scheduled_at > func.now(),
        Task.scheduled_at < func.now() + func.make_interval(0, 0, 0, 0, 0, 0, LOOKAHEAD_SECONDS),
        known_here,
    )
    .order_by(Task.scheduled_at)
    .limit(1)
    .correlate(wanted, level)
    .scalar_subquery()
)
_next_parked = (
    select(Parked.scheduled_at)
    .where(
        Parked.scheduled_at > func.now(),
        Parked.scheduled_at < func.now() + func.make_interval(0, 0, 0, 0, 0, 0, LOOKAHEAD_SECONDS),
    )
    .order_by(Parked.scheduled_at)
    .limit(1)
    .scalar_subquery()
)
_next_due = func.least(
    select(func.min(_soonest)).select_from(wanted.join(level, true())).scalar_subquery(), _next_parked
)
# A suspect whose limit is full must not keep a worker from its other jobs.
_has_room = exists(
    select(Parked.task_id).where(
        Parked.task_id == Task.id, literal_column("(spoils_limit_room(spoils_parked.key)).places") > 0
    )
)
_suspect = (
    select(Task.task_type, Task.payload["type"].astext.label("kind"))
    .where(
        Task.crashes >= SUSPECT_CRASHES,
        waits,
        Task.scheduled_at <= func.now(),
        Task.task_type == any_(types),
        known_here,
        or_(Task.priority >= min(LEVELS), _has_room),
    )
    .order_by(Task.scheduled_at)
    .limit(1)
    .cte("suspect")
)
_cancelled = (
    select(func.array_agg(cast(Task.id, Text)))
    .where(
        # By their keys: under somebody's open snapshot the index of what a worker runs keeps all that it ever ran.
        Task.id == any_(arrays.parameter("performing", Uuid)),
        Task.claimed_by == _me,
        cast(Task.state, Text) == TaskState.IN_PROGRESS.value,
        Task.cancel_requested_at.is_not(None),
    )
    .scalar_subquery()
)
_stopped = union_all(
    select(Pause.name).where(Pause.kind == PauseKind.TASK_TYPE.value),
    select(Hold.name).where(Hold.kind == HoldKind.TASK_TYPE.value, Hold.until > func.clock_timestamp()),
).subquery("stopped")
_paused = select(func.array_agg(_stopped.c.name)).scalar_subquery()
# Read from pg_locks, never tried: a rescuer that took the lock for a moment would make its owner look dead to others.
_lock_held = text(
    "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
    "AND (classid::bigint << 32 | objid::bigint) = other.lock_key "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)
_other = Worker.__table__.alias("other")
_others = (
    select(
        func.jsonb_agg(
            func.jsonb_build_array(
                _other.c.id,
                cast(_other.c.beat_at, String),
                case((_other.c.lock_key.is_(None), null()), else_=_lock_held),
                and_(
                    ~_other.c.draining,
                    exists(
                        select(_suspect).where(
                            _suspect.c.task_type == any_(_other.c.task_types),
                            func.coalesce(_other.c.job_classes.has_key(_suspect.c.kind), true()),
                        )
                    ),
                ),
            )
        )
    )
    .where(_other.c.ended_at.is_(None), _other.c.id != _me)
    .scalar_subquery()
)
_others_differ = exists(
    select(_other.c.id).where(_other.c.ended_at.is_(None), _other.c.job_classes != _beat.c.job_classes)
)
_HEARTBEAT = Statement(
    select(
        _beat.c.draining,
        _paused.label("paused"),
        cast(func.extract("epoch", _next_due - func.clock_timestamp()), Float).label("next_due_seconds"),
        exists(select(_suspect)).label("suspect_due"),
        _cancelled.label("cancelled"),
        _others.label("others"),
        _others_differ.label("others_differ"),
        exists(select(Parked.task_id)).label("limited"),
        # As an identity: a server clock that is set back or ahead falsifies how long ago that was.
        cast(func.extract("epoch", func.pg_postmaster_start_time()), Text).label("server"),
    ),
    "heartbeat",
)


def heartbeat(
    connection: Connection,
    *,
    worker_id: UUID,
    rss: int | None,
    running: int,
    performing: Sequence[UUID],
    draining: bool,
    task_types: Sequence[str],
    kinds: Sequence[str],
) -> HeartbeatResult:
    """Write a heartbeat, and learn in the same statement what concerns the worker.

    `performing` are its running tasks, of which it learns those that an operator wants to stop.
    """
    rows = _HEARTBEAT.rows(
        connection,
        {
            "worker_id": str(worker_id),
            "rss": rss,
            "running": running,
            "performing": arrays.plain(performing),
            "stopping": draining,
            "types": list(task_types),
            "kinds": list(kinds),
        },
    )
    if not rows:
        return HeartbeatResult(alive=False)
    (
        stays_draining,
        paused,
        next_due_seconds,
        suspect_due,
        cancelled,
        others,
        others_differ,
        limited,
        server,
    ) = rows[0]
    return HeartbeatResult(
        alive=True,
        next_due_seconds=next_due_seconds,
        suspect_due=suspect_due,
        cancelled=frozenset(map(UUID, cancelled or ())),
        draining=stays_draining,
        paused=frozenset(paused or ()),
        others=tuple(OtherWorker(UUID(id_), *found) for id_, *found in others or ()),
        others_differ=others_differ,
        limited=limited,
        server=server,
    )


def has_other_schema(connection: Connection, *, worker_id: UUID, job: str, digest: str) -> bool:
    """Whether another worker, whose row has not ended, has another schema of that job class than this digest's."""
    statement = select(
        exists().where(
            Worker.id != worker_id, Worker.ended_at.is_(None), Worker.job_classes[job].astext != digest
        )
    )
    return bool(connection.scalar(statement))


def leave(connection: Connection, worker_id: UUID, how: str = "clean") -> None:
    """End the worker's row: `how` is clean or recycled. The caller holds no task any more."""
    connection.execute(
        update(Worker)
        .where(Worker.id == worker_id, Worker.ended_at.is_(None))
        .values(ended_at=func.clock_timestamp(), ended_how=how, running=0)
    )


def stop_claiming(connection: Connection, worker_id: UUID) -> bool:
    """Ask a worker to claim nothing more, from its next heartbeat on. False if it has ended."""
    return _set_draining(connection, worker_id, True)


def claim_again(connection: Connection, worker_id: UUID) -> bool:
    """Undo `stop_claiming`. False if the worker has ended."""
    return _set_draining(connection, worker_id, False)


def _set_draining(connection: Connection, worker_id: UUID, asked: bool) -> bool:
    statement = update(Worker).where(Worker.id == worker_id, Worker.ended_at.is_(None)).values(draining=asked)
    return connection.execute(statement).rowcount == 1
