"""Deleting what is older than its retention: each call one small batch, and how many rows went."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Connection,
    DateTime,
    Double,
    Select,
    String,
    Text,
    Uuid,
    bindparam,
    cast,
    column,
    delete,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.elements import ColumnElement

from spoils.models import (
    Alert,
    Attempt,
    Audit,
    Batch,
    Bulk,
    IdempotencyKey,
    Logout,
    Minute,
    Output,
    Quarter,
    Step,
    Task,
    TaskState,
    Tick,
    Trash,
    UniqueWindow,
    Worker,
)

BATCH = 1000
SLICE = 10_000
"""Rows that one statement reads where the retention depends on the class."""

# The row of a task whose window is open answers for its duplicates.
_no_open_window = or_(
    Task.uniq_hash.is_(None),
    ~select(UniqueWindow.task_id)
    .where(
        UniqueWindow.uniq_hash == Task.uniq_hash,
        UniqueWindow.task_id == Task.id,
        UniqueWindow.until > func.now(),
    )
    .exists(),
)


def prune_tasks(connection: Connection, state: TaskState, *, days: float, batch: int = BATCH) -> int:
    """Delete up to `batch` ended tasks that have stood in `state` for longer than `days`; how many went."""
    if state not in (TaskState.FINISHED, TaskState.FAILED):
        raise ValueError(f"Only ended tasks are pruned, not {state}.")
    old = (
        select(Task.id)
        .where(Task.state == state, Task.updated_at < _ago(days), _no_open_window)
        .order_by(Task.updated_at, Task.id)
        .limit(batch)
        .with_for_update(skip_locked=True)
        .cte("old")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    return connection.execute(delete(Task).where(Task.id == old.c.id, Task.state == state)).rowcount


def prune_by_class(
    connection: Connection, state: TaskState, *, days: float | None, own: Mapping[str, timedelta]
) -> Iterator[int]:
    """Delete ended tasks that have stood in `state` for longer than their class keeps them, those of the classes that
    are not among `own` for longer than `days`, or not at all; how many went with each slice of the table.

    It reads all tasks of that state that are older than the shortest retention, in the order in which they ended.
    """
    other = None if days is None else timedelta(days=days).total_seconds()
    seconds = [keep.total_seconds() for keep in own.values()]
    values: dict[str, Any] = {
        "kinds": list(own),
        "seconds": seconds,
        "other": other,
        "shortest": min(seconds if other is None else [*seconds, other]),
        "slice": SLICE,
        "since": datetime.min.replace(tzinfo=UTC),
        "since_id": UUID(int=0),
    }
    while True:
        gone, last, last_id = connection.execute(_BY_CLASS[state], values).one()
        if last is None:
            return
        values |= {"since": last, "since_id": last_id}
        yield gone


def _pruning_by_class(state: TaskState) -> Select[Any]:
    rule = (
        func.unnest(bindparam("kinds", type_=ARRAY(String)), bindparam("seconds", type_=ARRAY(Double)))
        .table_valued(column("kind", String), column("seconds", Double))
        .render_derived(name="rule")
    )
    part = (
        select(Task.id, Task.updated_at, Task.payload["type"].astext.label("kind"))
        .where(
            Task.state == state,
            tuple_(Task.updated_at, Task.id)
            > tuple_(cast(bindparam("since"), DateTime(timezone=True)), cast(bindparam("since_id"), Uuid)),
            Task.updated_at < _seconds_ago(bindparam("shortest", type_=Double)),
        )
        .order_by(Task.updated_at, Task.id)
        .limit(bindparam("slice"))
        .cte("part")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    keeps = func.coalesce(rule.c.seconds, cast(bindparam("other"), Double))
    old = (
        select(Task.id)
        .select_from(part.join(Task, Task.id == part.c.id).outerjoin(rule, rule.c.kind == part.c.kind))
        .where(Task.state == state, Task.updated_at < _seconds_ago(keeps), _no_open_window)
        .with_for_update(of=Task, skip_locked=True)
        .cte("old")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    gone = delete(Task).where(Task.id == old.c.id, Task.state == state).returning(Task.id).cte("gone")
    last = select(part.c.updated_at, part.c.id).order_by(part.c.updated_at.desc(), part.c.id.desc()).limit(1)
    end = last.cte("last")
    number = select(func.count()).select_from(gone).scalar_subquery()
    return select(
        number,
        select(end.c.updated_at).scalar_subquery(),
        select(end.c.id).scalar_subquery(),
    )


def prune_steps(connection: Connection, *, batch: int = BATCH) -> int:
    """Delete up to `batch` steps whose task is gone, and not in the trash."""
    task = select(Task.id).where(Task.id == Step.task_id).exists()
    deleted = select(Trash.id).where(Trash.task_id == Step.task_id).exists()
    old = select(Step.task_id, Step.name).where(~task, ~deleted).limit(batch)
    return connection.execute(delete(Step).where(tuple_(Step.task_id, Step.name).in_(old))).rowcount


def prune_outputs(connection: Connection, *, batch: int = BATCH) -> int:
    """Delete up to `batch` outputs of attempts whose task is gone, and not in the trash, and that have no row left."""
    task = select(Task.id).where(Task.id == Output.task_id).exists()
    deleted = select(Trash.id).where(Trash.task_id == Output.task_id).exists()
    attempt = (
        select(Attempt.id)
        .where(Attempt.task_id == Output.task_id, Attempt.attempt == Output.attempt)
        .exists()
    )
    old = select(Output.task_id, Output.attempt).where(~task, ~deleted, ~attempt).limit(batch)
    return connection.execute(delete(Output).where(tuple_(Output.task_id, Output.attempt).in_(old))).rowcount


def prune_windows(connection: Connection, *, batch: int = BATCH) -> int:
    """Delete up to `batch` windows that have passed."""
    return _prune(connection, UniqueWindow.uniq_hash, UniqueWindow.until < func.now(), batch)


def prune_attempts(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Delete up to `batch` attempts that ended longer than `days` ago and whose task is gone."""
    orphaned = ~select(Task.id).where(Task.id == Attempt.task_id).exists()
    return _prune(connection, Attempt.id, (Attempt.ended_at < _ago(days)) & orphaned, batch)


def prune_minutes(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Delete up to `batch` rows of minutes longer than `days` ago."""
    return _prune(connection, Minute.id, Minute.minute < _ago(days), batch)


def prune_quarters(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Delete up to `batch` rows of quarters longer than `days` ago."""
    key = (Quarter.quarter, Quarter.task_type, Quarter.outcome)
    old = select(*key).where(Quarter.quarter < _ago(days)).limit(batch)
    return connection.execute(delete(Quarter).where(tuple_(*key).in_(old))).rowcount


def prune_workers(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Delete up to `batch` workers that ended longer than `days` ago."""
    return _prune(connection, Worker.id, Worker.ended_at < _ago(days), batch)


def prune_ticks(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Delete up to `batch` ticks longer than `days` ago."""
    old = select(Tick.schedule_id, Tick.slot).where(Tick.slot < _ago(days)).limit(batch)
    return connection.execute(delete(Tick).where(tuple_(Tick.schedule_id, Tick.slot).in_(old))).rowcount


def prune_keys(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Delete up to `batch` keys of requests that came longer than `days` ago."""
    return _prune(connection, IdempotencyKey.key, IdempotencyKey.created_at < _ago(days), batch)


def prune_audit(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Delete up to `batch` entries of the audit log made longer than `days` ago."""
    return _prune(connection, Audit.id, Audit.at < _ago(days), batch)


def prune_trash(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Delete for good up to `batch` tasks that were deleted longer than `days` ago."""
    return _prune(connection, Trash.id, Trash.deleted_at < _ago(days), batch)


def prune_bulks(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Forget up to `batch` ended bulk actions that began longer than `days` ago."""
    return _prune(connection, Bulk.id, (Bulk.created_at < _ago(days)) & Bulk.ended_at.is_not(None), batch)


def prune_batches(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Forget up to `batch` batches that ended longer than `days` ago, or that are as old and can never end: of a batch
    that waits for the success of failed members, those are gone, and in the trash is none.
    """
    members = select(Task.id).where(Task.batch_id == Batch.id)
    restorable = select(Trash.id).where(Trash.task["batch_id"].astext == cast(Batch.id, Text))
    stuck = (
        Batch.ended_at.is_(None)
        & (Batch.active == 0)
        & (Batch.created_at < _ago(days))
        & ~members.exists()
        & ~restorable.exists()
    )
    return _prune(connection, Batch.id, or_(Batch.ended_at < _ago(days), stuck), batch)


def prune_alerts(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Forget up to `batch` incidents last seen longer than `days` ago."""
    return _prune(connection, Alert.key, Alert.seen_at < _ago(days), batch)


def prune_logouts(connection: Connection, *, days: float, batch: int = BATCH) -> int:
    """Delete up to `batch` logouts made longer than `days` ago."""
    return _prune(connection, Logout.login, Logout.at < _ago(days), batch)


def _prune(
    connection: Connection, key: InstrumentedAttribute[Any], old: ColumnElement[bool], batch: int
) -> int:
    chosen = select(key).where(old).limit(batch).with_for_update(skip_locked=True)
    return connection.execute(delete(key.class_).where(key.in_(chosen))).rowcount


def _ago(days: float) -> ColumnElement[datetime]:
    return _seconds_ago(timedelta(days=days).total_seconds())


def _seconds_ago(seconds: Any) -> ColumnElement[datetime]:
    return func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)


_BY_CLASS = {state: _pruning_by_class(state) for state in (TaskState.FINISHED, TaskState.FAILED)}
