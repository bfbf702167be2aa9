"""Putting a task in."""

import json
import logging
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    DateTime,
    Engine,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.exc import DBAPIError, IntegrityError

from spoils.db.engine import was_rolled_back
from spoils.db.statements import Statement
from spoils.errors import PayloadError, SpoilsError
from spoils.job import Job, OnDuplicate, Unique, wire
from spoils.job.registry import registry
from spoils.job.unique import ON_DUPLICATE, only_waiting
from spoils.models import LIMITED, Task, TaskState
from spoils.queue.claim_scope import holds_hash, waits
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
    _put.values(uniq_waiting=bindparam("uniq_waiting"))
    .on_conflict_do_nothing(**UNLESS_DUPLICATE)
    .returning(Task.attempts),
    "enqueue_unique",
    anywhere=True,
    chooses=False,
)
_put_by_function = (
    func.spoils_put(cast(bindparam("tasks", type_=Text), JSONB))
    .table_valued(
        column("place", BigInteger), column("id", Uuid), column("state", Text), column("duplicate", Boolean)
    )
    .alias("put")
)
_PUT_BY_FUNCTION = Statement(
    select(
        cast(_put_by_function.c.id, Text), _put_by_function.c.state, _put_by_function.c.duplicate
    ).order_by(_put_by_function.c.place),
    "put",
    anywhere=True,
    chooses=False,
)
_DUPLICATE = Statement(
    select(cast(Task.id, Text), Task.state)
    .where(Task.uniq_hash == bindparam("uniq_hash"), holds_hash())
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
    on_duplicate: OnDuplicate = "skip",
    task_id: UUID | None = None,
) -> Enqueued:
    """Put `job` in, or find its unique duplicate that waits or runs; part of the connection's transaction.

    `at` is the aware moment before which it is not due, `priority` −2 … 2. With `on_duplicate` "replace" a duplicate
    that waits gets the payload of `job`, with "reschedule" its moment too. Raises PayloadError with a sentence.
    """
    values = row(job, at=at, priority=priority, key=str(task_id or new_key()), on_duplicate=on_duplicate)
    return _put_in(values, lambda statement, given: statement.rows(connection, given))


def row(
    job: Job, *, at: datetime | None, priority: int, key: str, on_duplicate: OnDuplicate = "skip"
) -> dict[str, Any]:
    """What is written of a job, as the driver takes it. Raises PayloadError with a sentence."""
    if type(priority) is not int or priority not in PRIORITIES:
        raise PayloadError("priority is a whole number from -2 to 2.")
    if at is not None and at.tzinfo is None:
        raise PayloadError("A moment needs its time zone, as in 2026-11-24T02:00:00+00:00.")
    if on_duplicate != "skip":
        _check_on_duplicate(job, on_duplicate)
    unique = job.uniq if isinstance(job.uniq, Unique) else None
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
        "uniq_waiting": True if unique and unique.only_waiting else None,
        "within": unique.window_seconds if unique else None,
        "on_duplicate": on_duplicate,
    }


def _check_on_duplicate(job: Job, on_duplicate: str) -> None:
    if on_duplicate not in ON_DUPLICATE:
        raise PayloadError('on_duplicate is "skip", "replace" or "reschedule".')
    if not only_waiting(job.uniq):
        name = type(job).__name__
        raise PayloadError(
            f'on_duplicate="{on_duplicate}" needs a class that is unique while it waits, so that one more may wait '
            f'beside the one that runs: set uniq = Unique(…, while_="waiting") on {name}.'
        )


def _digest(job: Job, metadata: wire.Metadata, canonical: str) -> str | None:
    if not job.uniq:
        return None
    if type(job).uniq_hash is Job.uniq_hash:  # the same, with the wire form made once
        if isinstance(job.uniq, Unique):
            return wire.uniq_hash(job.uniq.part_of(metadata))
        return wire.uniq_hash(metadata, canonical)
    digest = job.uniq_hash()
    if digest is not None and not re.fullmatch("[0-9a-f]{64}", str(digest)):
        raise PayloadError(
            f"uniq_hash of {type(job).__name__} must return 64 hex digits, as spoils.job.wire.uniq_hash does, or None."
        )
    return digest


def enqueue_surely(
    engine: Engine,
    job: Job,
    *,
    at: datetime | None = None,
    priority: int = 0,
    on_duplicate: OnDuplicate = "skip",
) -> Enqueued:
    """Put `job` in, in a transaction of its own; if the commit was not answered, look whether it happened.

    One round trip to the server.
    """
    key = new_key()
    values = row(job, at=at, priority=priority, key=key, on_duplicate=on_duplicate)
    for tries_left in (2, 1, 0):
        try:
            found = _find(engine, key) if tries_left < 2 else None
            found = found or _put_in(values, lambda statement, given: statement.rows_alone(engine, given))
            return found._replace(duplicate=found.key != key) if found.duplicate else found
        except DBAPIError as exc:
            # An earlier try of ours that was still under way shows as a row of the same id.
            again = exc.connection_invalidated or isinstance(exc, IntegrityError) or was_rolled_back(exc)
            if not again or not tries_left:
                raise
    raise DuplicateVanished()


def needs_function(values: dict[str, Any]) -> bool:
    """Whether the function `spoils_put` puts a unique job in: it alone knows windows, and replaces what waits."""
    return values["within"] is not None or values["on_duplicate"] != "skip"


def for_function(rows: Sequence[dict[str, Any]]) -> str:
    """What `spoils_put` takes: rows as a JSON array."""
    return json.dumps(
        [
            {**one, "metadata": json.loads(one["metadata"]), "at": one["at"] and one["at"].isoformat()}
            for one in rows
        ]
    )


def put_by_function(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[Enqueued]:
    """Put rows in by the function `spoils_put`; part of the connection's transaction."""
    return _enqueued(_PUT_BY_FUNCTION.rows(connection, {"tasks": for_function(rows)}))


def _put_in(
    values: dict[str, Any], rows_of: Callable[[Statement, dict[str, Any]], list[tuple[Any, ...]]]
) -> Enqueued:
    if values["uniq_hash"] is None:
        rows_of(_PUT, values)
        return Enqueued(values["id"], TaskState.NEW, False)
    if needs_function(values):
        return _enqueued(rows_of(_PUT_BY_FUNCTION, {"tasks": for_function([values])}))[0]
    for _ in range(5):
        if rows_of(_PUT_UNIQUE, values):
            return Enqueued(values["id"], TaskState.NEW, False)
        # A statement of its own: its snapshot has a duplicate that was committed while we waited for its lock.
        for key, state in rows_of(_DUPLICATE, values):
            return Enqueued(key, TaskState(state), True)
    raise DuplicateVanished()


def _enqueued(rows: Sequence[tuple[Any, ...]]) -> list[Enqueued]:
    return [Enqueued(key, TaskState(state), duplicate) for key, state, duplicate in rows]


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
