"""Putting many tasks in, by a few statements."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    Connection,
    DateTime,
    SmallInteger,
    String,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert

from spoils.db import arrays
from spoils.db.statements import Statement
from spoils.job import Job, OnDuplicate
from spoils.models import Task, TaskState
from spoils.queue.claim_scope import holds_hash
from spoils.queue.enqueue import (
    UNLESS_DUPLICATE,
    Enqueued,
    enqueue,
    needs_function,
    now,
    put_by_function,
    row,
)
from spoils.queue.ids import new_keys

AT_ONCE = 5_000
"""Rows of one statement: more would only make the process grow."""


class Order(NamedTuple):
    """A job to be put in: `at` is the aware moment before which it is not due, `priority` −2 … 2; `on_duplicate` is as
    in `enqueue`."""

    job: Job
    at: datetime | None = None
    priority: int = 0
    on_duplicate: OnDuplicate = "skip"


_moment = DateTime(timezone=True)
_GIVEN = {
    "id": ("ids", Uuid),
    "metadata": ("payloads", Text),
    "task_type": ("names", String),
    "uniq_hash": ("hashes", String),
    "priority": ("levels", SmallInteger),
    "at": ("moments", _moment),
}
_GIVEN_UNIQUE = {**_GIVEN, "uniq_waiting": ("only_waiting", Boolean)}


def _putting(columns: dict[str, tuple[str, Any]]) -> Insert:
    """The statement that puts in what comes in arrays, which hold these columns."""
    given = (
        func.unnest(*[arrays.parameter(parameter, kind) for parameter, kind in columns.values()])
        .table_valued(*[column(name, kind) for name, (_, kind) in columns.items()])
        .render_derived(name="given")
    )
    values: dict[str, Any] = {name: given.c[name] for name in columns if name != "at"}
    values["metadata"] = cast(given.c.metadata, JSONB)
    values |= {"scheduled_at": func.greatest(now, given.c["at"]), "created_at": now, "updated_at": now}
    return insert(Task).from_select(list(values), select(*values.values()), include_defaults=False)


_PUT = Statement(_putting(_GIVEN), "enqueue_many")
_PUT_UNIQUE = Statement(
    _putting(_GIVEN_UNIQUE).on_conflict_do_nothing(**UNLESS_DUPLICATE).returning(cast(Task.id, Text)),
    "enqueue_many_unique",
)
_DUPLICATES = Statement(
    select(Task.uniq_hash, cast(Task.id, Text), Task.state).where(
        Task.uniq_hash == any_(bindparam("hashes", type_=ARRAY(String))), holds_hash()
    ),
    "duplicates",
)


def enqueue_many(
    connection: Connection,
    jobs: Sequence[Job | Order],
    *,
    at: datetime | None = None,
    priority: int = 0,
    on_duplicate: OnDuplicate = "skip",
) -> list[Enqueued]:
    """Put all in, in their order; part of the connection's transaction. Returns the task of each, in the same order.

    Of each five thousand that are due now, of one priority and type, the first one given is the first one claimed.
    `at`, `priority` and `on_duplicate` are for the jobs that come without an `Order`. A unique job that waits or
    runs already, or has come earlier in the list, is answered as its duplicate. Raises PayloadError with a sentence,
    with nothing put in.
    """
    orders = [one if isinstance(one, Order) else Order(one, at, priority, on_duplicate) for one in jobs]
    rows = [
        row(one.job, at=one.at, priority=one.priority, key=key, on_duplicate=one.on_duplicate)
        for one, key in zip(orders, new_keys(len(orders)), strict=True)
    ]
    for part in _parts([one for one in rows if one["uniq_hash"] is None]):
        _PUT.rows(connection, _arrays(part))
    unique = [one for one in rows if one["uniq_hash"] is not None]
    firsts = {one["uniq_hash"]: one for one in reversed(unique) if not needs_function(one)}
    others = _put_unique(connection, firsts, dict(zip([one["id"] for one in rows], orders, strict=True)))
    by_function: dict[str, Enqueued] = {}
    for part in _parts([one for one in unique if needs_function(one)]):
        put = put_by_function(connection, part)
        by_function |= dict(zip([one["id"] for one in part], put, strict=True))
    return [
        by_function.get(one["id"])
        or _enqueued(one["id"], others.get(one["uniq_hash"]), firsts.get(one["uniq_hash"]))
        for one in rows
    ]


def _enqueued(key: str, other: Enqueued | None, first: dict[str, Any] | None) -> Enqueued:
    if other is not None:
        return other._replace(duplicate=other.duplicate or other.key != key)
    if first is not None and first["id"] != key:
        return Enqueued(first["id"], TaskState.NEW, True)
    return Enqueued(key, TaskState.NEW, False)


def _put_unique(
    connection: Connection, firsts: dict[str, dict[str, Any]], orders: dict[str, Order]
) -> dict[str, Enqueued]:
    """Put in what has no duplicate yet. Returns the tasks of the hashes that had one."""
    existing: dict[str, Enqueued] = {}
    # In one order in every process: two batches with the same unique jobs would otherwise wait for each other.
    for part in _parts([firsts[digest] for digest in sorted(firsts)]):
        new = {task_id for (task_id,) in _PUT_UNIQUE.rows(connection, _arrays(part))}
        refused = [one for one in part if one["id"] not in new]
        if refused:
            duplicates = _DUPLICATES.rows(connection, {"hashes": [one["uniq_hash"] for one in refused]})
            existing |= {digest: Enqueued(key, TaskState(state), True) for digest, key, state in duplicates}
        for one in refused:
            if (
                one["uniq_hash"] not in existing
            ):  # its duplicate has ended in between, or is not committed yet
                order = orders[one["id"]]
                existing[one["uniq_hash"]] = enqueue(
                    connection, order.job, at=order.at, priority=order.priority, task_id=UUID(one["id"])
                )
    return existing


def _parts(rows: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(rows), AT_ONCE):
        yield rows[start : start + AT_ONCE]


def _arrays(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {
        "ids": arrays.plain([one["id"] for one in rows]),
        "payloads": arrays.quoted([one["metadata"] for one in rows]),
        "names": arrays.quoted([one["task_type"] for one in rows]),
        "hashes": arrays.plain([one["uniq_hash"] for one in rows]),
        "levels": arrays.plain([one["priority"] for one in rows]),
        "moments": arrays.quoted([one["at"] and one["at"].isoformat() for one in rows]),
        "only_waiting": arrays.plain([one["uniq_waiting"] for one in rows]),
    }
