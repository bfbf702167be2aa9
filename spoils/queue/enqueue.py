"""Putting a task in."""

import logging
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Connection,
    DateTime,
    Engine,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.exc import DBAPIError, IntegrityError

from spoils.db.engine import was_rolled_back
from spoils.db.statements import Statement
from spoils.errors import PayloadError, SpoilsError
from spoils.job import Job, wire
from spoils.job.registry import registry
from spoils.models import LIMITED, Task, TaskState
from spoils.queue.claim_scope import active, waits
from spoils.queue.ids import new_key

log = logging.getLogger("spoils.enqueue")

PRIORITIES = range(-2, 3)


class DuplicateVanished(SpoilsError):
    """An equal unique task kept appearing and ending while this one was put in. Try again."""


class Enqueued(NamedTuple):
    """The task that now stands for a job: a new row, or the duplicate that a unique job already had."""

    key: str  # the id, as PostgreSQL prints it
    state: TaskState
    duplicate: bool

    @property
    def id(self) -> UUID:
        """The task's id."""
        return UUID(self.key)


# Not now(), which in a job's own transaction is the moment at which its session opened.
now = func.statement_timestamp()
# This predicate finds the unique index in both its forms, with in_progress and (beside Rust workers) without.
UNLESS_DUPLICATE: dict[str, Any] = {
    "index_elements": ["uniq_hash"],
    "index_where": text("state IN ('new', 'retried') AND uniq_hash IS NOT NULL"),
}
_put = (
    insert(Task)
    .inline()
    .values(
        id=cast(bindparam("id", type_=Text), Uuid),
        metadata=cast(bindparam("metadata", type_=Text), JSONB),
        task_type=bindparam("task_type"),
        uniq_hash=bindparam("uniq_hash"),
        priority=bindparam("priority"),
        # A moment that has passed means "now": claims look on from where they were, so no row may appear behind.
        scheduled_at=func.greatest(now, cast(bindparam("at"), DateTime(timezone=True))),
        created_at=now,
        updated_at=now,
    )
)
_PUT = Statement(_put, "enqueue", anywhere=True, chooses=False)
_PUT_UNIQUE = Statement(
    _put.on_conflict_do_nothing(**UNLESS_DUPLICATE).returning(Task.attempts),
    "enqueue_unique",
    anywhere=True,
    chooses=False,
)
_DUPLICATE = Statement(
    select(cast(Task.id, Text), Task.state)
    .where(Task.uniq_hash == bindparam("uniq_hash"), active)
    .order_by(case((waits, 0), else_=1))
    .limit(1),
    "duplicates",
    anywhere=True,
)


def enqueue(
    connection: Connection,
    job: Job,
    *,
    at: datetime | None = None,
    priority: int = 0,
    task_id: UUID | None = None,
) -> Enqueued:
    """Put `job` in, or find its unique duplicate that waits or runs; part of the connection's transaction.

    `at` is the aware moment before which it is not due, `priority` −2 … 2. Raises PayloadError with a sentence.
    """
    values = row(job, at=at, priority=priority, key=str(task_id or new_key()))
    return _put_in(values, lambda statement: statement.rows(connection, values))


def row(job: Job, *, at: datetime | None, priority: int, key: str) -> dict[str, Any]:
    """What is written of a job, as the driver takes it. Raises PayloadError with a sentence."""
    if type(priority) is not int or priority not in PRIORITIES:
        raise PayloadError("priority is a whole number from -2 to 2.")
    if at is not None and at.tzinfo is None:
        raise PayloadError("A moment needs its time zone, as in 2026-11-24T02:00:00+00:00.")
    metadata = job.to_wire()
    canonical = wire.canonical(metadata)
    if registry.compares_payloads:
        job.check_round_trip(canonical)
    return {
        "id": key,
        "metadata": canonical,
        "task_type": job.task_type,
        "uniq_hash": _digest(job, metadata, canonical),
        "priority": priority - LIMITED if job.limits else priority,
        "at": at,
    }


def _digest(job: Job, metadata: wire.Metadata, canonical: str) -> str | None:
    if not job.uniq:
        return None
    if type(job).uniq_hash is Job.uniq_hash:
        return wire.uniq_hash(metadata, canonical)  # the same, with the wire form made once
    digest = job.uniq_hash()
    if digest is not None and not re.fullmatch("[0-9a-f]{64}", str(digest)):
        raise PayloadError(
            f"uniq_hash of {type(job).__name__} must return 64 hex digits, as spoils.job.wire.uniq_hash does, or None."
        )
    return digest


def enqueue_surely(engine: Engine, job: Job, *, at: datetime | None = None, priority: int = 0) -> Enqueued:
    """Put `job` in, in a transaction of its own; if the commit was not answered, look whether it happened.

    One round trip to the server.
    """
    key = new_key()
    values = row(job, at=at, priority=priority, key=key)
    for tries_left in (2, 1, 0):
        try:
            found = _find(engine, key) if tries_left < 2 else None
            found = found or _put_in(values, lambda statement: statement.rows_alone(engine, values))
            return found._replace(duplicate=found.key != key) if found.duplicate else found
        except DBAPIError as exc:
            # An earlier try of ours that was still under way shows as a row of the same id.
            again = exc.connection_invalidated or isinstance(exc, IntegrityError) or was_rolled_back(exc)
            if not again or not tries_left:
                raise
    raise DuplicateVanished()


def _put_in(values: dict[str, Any], rows_of: Callable[[Statement], list[tuple[Any, ...]]]) -> Enqueued:
    if values["uniq_hash"] is None:
        rows_of(_PUT)
        return Enqueued(values["id"], TaskState.NEW, False)
    for _ in range(5):
        if rows_of(_PUT_UNIQUE):
            return Enqueued(values["id"], TaskState.NEW, False)
        # A statement of its own: its snapshot has a duplicate that was committed while we waited for its lock.
        for key, state in rows_of(_DUPLICATE):
            return Enqueued(key, TaskState(state), True)
    raise DuplicateVanished()


def _find(engine: Engine, key: str) -> Enqueued | None:
    with engine.connect() as connection:
        state = connection.scalar(select(Task.state).where(Task.id == UUID(key)))
    return Enqueued(key, TaskState(state), False) if state else None


def log_enqueued(job: Job, enqueued: Enqueued) -> None:
    """Log it, once it is committed."""
    log.info(
        "%s %s",
        "Already enqueued" if enqueued.duplicate else "Enqueued",
        type(job).__name__,
        extra={"action": "enqueue", "task_id": enqueued.key, "task_type": job.task_type},
    )
