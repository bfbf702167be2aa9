"""Deleting what is older than its retention: each call one small batch, and how many rows went."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Text, cast, delete, func, or_, select, tuple_
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
    Quarter,
    Task,
    TaskState,
    Tick,
    Trash,
    Worker,
)

BATCH = 1000


def prune_tasks(connection: Connection, state: TaskState, *, days: float, batch: int = BATCH) -> int:
    """Delete up to `batch` ended tasks that have stood in `state` for longer than `days`; how many went."""
    if state not in (TaskState.FINISHED, TaskState.FAILED):
        raise ValueError(f"Only ended tasks are pruned, not {state}.")
    old = (
        select(Task.id)
        .where(Task.state == state, Task.updated_at < _ago(days))
        .order_by(Task.updated_at, Task.id)
        .limit(batch)
        .with_for_update(skip_locked=True)
        .cte("old")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    return connection.execute(delete(Task).where(Task.id == old.c.id, Task.state == state)).rowcount


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
    return func.now() - func.make_interval(0, 0, 0, 0, 0, 0, timedelta(days=days).total_seconds())
