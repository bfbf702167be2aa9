"""Which limits there are, and which tasks are under them.

A task under limits has a priority that is `LIMITED` lower than its own, so that ordinary claims do not see it. Triggers
keep `spoils_parked` (what waits) and `spoils_limit_places` (what has started); see `claim_limited`.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from spoils.job import Job
from spoils.job.limits import Rate, fields_of, label_of
from spoils.masking import secret
from spoils.models import LIMITED, Limit, LimitPlace, Parked, Task, TaskState
from spoils.queue import fence
from spoils.queue.claim_scope import LEVELS, active, limited_level, waits, wanted
from spoils.queue.settlement import Token

PUBLISH_LOCK = 0x5B016
"""Any fixed number: of workers that start at once, one after the other publishes."""

_own = Task.priority >= min(LEVELS)
_is_of = (Task.payload["type"].astext == bindparam("job"), Task.task_type == bindparam("of_type"))
_OUT_OF_LIMITS = update(Task).where(*_is_of, active, ~_own).values(priority=Task.priority + LIMITED)
_UNDER_LIMITS = update(Task).where(*_is_of, active, _own).values(priority=Task.priority - LIMITED)
_LIMIT = update(Task).where(fence.of(fence.tokens.c), _own).values(priority=Task.priority - LIMITED)
_PUBLISH = insert(Limit).values(published_at=func.clock_timestamp())


def publish(connection: Connection, job_classes: Iterable[type[Job]]) -> None:
    """Make the limits of these classes those of the whole fleet; in the caller's transaction.

    Where they differ from what was published before, waiting and running tasks of the class come under the new ones, or
    are free where it has none any more.
    """
    connection.execute(select(func.pg_advisory_xact_lock(PUBLISH_LOCK)))
    found: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(select(Limit.__table__).order_by(Limit.place)).mappings():
        definition = {name: value for name, value in row.items() if name != "published_at"}
        found.setdefault(row["job"], []).append(definition)
    for job_class in job_classes:
        name = job_class.__name__
        published, wanted = found.get(name, []), _rows(job_class)
        if published == wanted:
            continue
        connection.execute(delete(Limit).where(Limit.job == name))
        values = {"job": name, "of_type": job_class.task_type}
        same_keys = _keys(published) == _keys(wanted)
        if not same_keys:
            connection.execute(_OUT_OF_LIMITS, values)
        if wanted:
            connection.execute(_PUBLISH, wanted)
        if wanted and not same_keys:
            connection.execute(_UNDER_LIMITS, values)
    # Waiting tasks may start now: places may have been added.
    connection.execute(select(func.pg_notify("spoils_limits", "")))


def _rows(job_class: type[Job]) -> list[dict[str, Any]]:
    return [
        {
            "job": job_class.__name__,
            "label": label_of(job_class.__name__, limit),
            "place": place,
            "fields": list(fields_of(limit)),
            "hashed": any(secret(field) for field in fields_of(limit)),
            "at_once": None if isinstance(limit, Rate) else limit.at_once,
            "rate": limit.number if isinstance(limit, Rate) else None,
            "per": float(limit.per) if isinstance(limit, Rate) else None,
        }
        for place, limit in enumerate(job_class.limits)
    ]


def _keys(rows: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The part of each that the keys of tasks follow from."""
    return [(row["label"], row["fields"], row["hashed"]) for row in rows]


def put_under_limits(connection: Connection, token: Token, *, worker_id: UUID) -> None:
    """Put a claimed task under the limits of its class: it was enqueued by who did not know of them.

    It has to be released then, to wait for its turn.
    """
    connection.execute(_LIMIT, fence.values([token], worker_id))


_runs = exists(select(Task.id).where(Task.id == LimitPlace.task_id, Task.state == TaskState.IN_PROGRESS))
_DROP_PLACES = delete(LimitPlace).where(
    or_(LimitPlace.free_at <= func.now(), and_(LimitPlace.free_at.is_(None), ~_runs))
)
_DROP_PARKED = delete(Parked).where(~exists(select(Task.id).where(Task.id == Parked.task_id, waits, ~_own)))
_unparked = (
    select(Task.id)
    .where(
        Task.task_type == wanted.c.task_type,
        Task.priority == limited_level.c.priority,
        waits,
        ~exists(select(Parked.task_id).where(Parked.task_id == Task.id)),
    )
    .correlate(wanted, limited_level)
    .lateral("unparked")
)
_missing = select(_unparked.c.id).select_from(wanted.join(limited_level, true()).join(_unparked, true()))
# The trigger parks what it finds waiting and not parked.
_PARK = update(Task).where(Task.id.in_(_missing), waits).values(crashes=Task.crashes)


def drop_stale_places(connection: Connection) -> None:
    """Delete the places that rates have given back, and what a table that was emptied or restored has left."""
    connection.execute(_DROP_PLACES)


def repair(connection: Connection, *, task_types: Iterable[str]) -> None:
    """Make right what the triggers could not: a restore without them, or TRUNCATE."""
    connection.execute(_DROP_PLACES)
    connection.execute(_DROP_PARKED)
    connection.execute(_PARK, {"types": list(task_types)})
