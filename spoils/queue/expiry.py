"""Failing tasks that nobody has started before their expiry."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import (
    Connection,
    Double,
    String,
    and_,
    column,
    exists,
    func,
    insert,
    literal,
    select,
    true,
    update,
)

from spoils.db import arrays
from spoils.job.outcome import Ending
from spoils.models import Attempt, Task, TaskState
from spoils.queue import minute_stats
from spoils.queue.claim_scope import any_level, waits
from spoils.queue.fence import locking

MOST = 1_000
"""The most tasks of one class and priority that a call fails."""


class Expiry(NamedTuple):
    """When the tasks of a class expire, and what is then recorded."""

    kind: str
    task_type: str
    seconds: float
    error_class: str
    message: str
    fingerprint: str | None


_given = (
    func.unnest(
        *[
            arrays.parameter(name, kind)
            for name, kind in (
                ("kinds", String),
                ("names", String),
                ("limits", Double),
                ("errors", String),
                ("sentences", String),
                ("prints", String),
            )
        ]
    )
    .table_valued(
        column("kind", String),
        column("task_type", String),
        column("seconds", Double),
        column("error_class", String),
        column("message", String),
        column("fingerprint", String),
    )
    .render_derived(name="given")
)
_is_old = and_(
    waits,
    Task.state == TaskState.NEW,
    Task.scheduled_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, _given.c.seconds),
)
_old = (
    select(Task.id)
    .where(
        Task.task_type == _given.c.task_type,
        Task.priority == any_level.c.priority,
        Task.payload["type"].astext == _given.c.kind,
        _is_old,
        # What was released before it had begun has no attempt on record.
        ~exists(select(Attempt.id).where(Attempt.task_id == Task.id)),
    )
    .order_by(Task.scheduled_at, Task.id)
    .limit(MOST)
    .correlate(_given, any_level)
    .lateral("old")
)
_found = (
    select(_old.c.id, _given)
    .select_from(_given.join(any_level, true()).join(_old, true()))
    .cte("found")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
# A worker may just be claiming it, or an operator have made it due again.
_held = locking(
    select(Task.id, _found.c.error_class, _found.c.message, _found.c.fingerprint)
    .join(_found, _found.c.id == Task.id)
    .where(
        waits,
        Task.state == TaskState.NEW,
        Task.scheduled_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, _found.c.seconds),
    )
).cte("held")
_expired = (
    update(Task)
    .where(Task.id == _held.c.id)
    .values(
        state=TaskState.FAILED,
        error_message=func.concat(_held.c.error_class, ": ", _held.c.message),
        updated_at=func.now(),
    )
    .returning(
        Task.id,
        Task.attempts,
        Task.task_type,
        literal(Ending.FAILED.value).label("outcome"),
        literal(0).label("bucket"),
        literal(0).label("ran_ms"),
        _held.c.error_class,
        _held.c.message,
        _held.c.fingerprint,
    )
    .cte("expired")
)
_attempts = (
    insert(Attempt)
    .from_select(
        ["task_id", "attempt", "task_type", "outcome", "ended_at", "error_class", "message", "fingerprint"],
        select(
            _expired.c.id,
            _expired.c.attempts,
            _expired.c.task_type,
            _expired.c.outcome,
            func.now(),
            _expired.c.error_class,
            _expired.c.message,
            _expired.c.fingerprint,
        ),
    )
    .cte("attempts")
)
_EXPIRE = (
    select(func.count())
    .select_from(_expired)
    .add_cte(_attempts, minute_stats.counted(_expired, true(), func.now()))
)


def expire(connection: Connection, expiries: Sequence[Expiry]) -> int:
    """Fail tasks of these classes that were due too long ago and that nobody has started; how many.

    Tasks of paused types too. Each is recorded as a failed attempt.
    """
    kinds, names, seconds, errors, sentences, prints = zip(*expiries, strict=True)
    values = {
        "kinds": arrays.quoted(kinds),
        "names": arrays.quoted(names),
        "limits": arrays.plain(seconds),
        "errors": arrays.quoted(errors),
        "sentences": arrays.quoted(sentences),
        "prints": arrays.quoted(prints),
    }
    return connection.execute(_EXPIRE, values).scalar_one()
