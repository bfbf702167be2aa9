"""Writing outcomes: one fenced statement for a batch, with the attempts and the minutes that hang on it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    DateTime,
    Float,
    Integer,
    String,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    insert,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from spoils.models import Attempt, Task, TaskState
from spoils.outcome import FINISHED, Ending
from spoils.queue import fence, minutes
from spoils.queue.finish import finish
from spoils.queue.release import (
    CANCELLED,
    STATES,
    cancel_requested,
    hash_in_waiting,
    ranked,
    state_in_waiting,
    waking,
)
from spoils.queue.settlement import Settlement

MAX_DELAY_SECONDS = 3650 * 24 * 3600.0
MOST_RETRIES = 2**31 - 2
"""One more than that is the last number that the column holds: an odd row must not end the statement of all."""


# A jsonb array as a parameter keeps the statement's text the same for every size of batch.
_given = (
    func.jsonb_to_recordset(bindparam("settlements", type_=JSONB))
    .table_valued(
        column("id", Uuid),
        column("attempts", Integer),
        column("outcome", String),
        column("state", String),
        column("counts_as_retry", Boolean),
        column("delay", Float),
        column("claimed_at", DateTime(timezone=True)),
        column("ran_ms", BigInteger),
        column("bucket", Integer),
        column("error_message", Text),
        column("error_class", String),
        column("message", Text),
        column("traceback", Text),
        column("fingerprint", String),
        name="given",
    )
    .render_derived(with_types=True)
)
_waits = _given.c.state == "waiting"
# Not now(), which in a job's own transaction is the moment at which its session opened.
_now = func.statement_timestamp()
_held = fence.unlocked(
    select(*_given.c, Task.uniq_hash, Task.created_at, _waits.label("waits")).where(fence.of(_given.c))
).cte("held")
_ranked = ranked(_held, among=_held.c.waits)
_retries = func.least(Task.retries, MOST_RETRIES) + case((_ranked.c.counts_as_retry, 1), else_=0)
_given_back = and_(_ranked.c.outcome == Ending.RELEASED, _ranked.c.delay == 0)

_settled = (
    update(Task)
    .where(Task.id == _ranked.c.id)
    .values(
        state=case((_ranked.c.waits, state_in_waiting(_retries)), else_=cast(_ranked.c.state, STATES)),
        retries=_retries,
        # What is given back keeps its place in the line.
        scheduled_at=case(
            (
                and_(_ranked.c.waits, ~_given_back),
                _now + _ranked.c.delay * func.make_interval(0, 0, 0, 0, 0, 0, 1),
            ),
            else_=Task.scheduled_at,
        ),
        uniq_hash=case((_ranked.c.waits, hash_in_waiting(_ranked)), else_=Task.uniq_hash),
        error_message=case(
            (_ranked.c.outcome == Ending.FINISHED, null()),
            (and_(_ranked.c.waits, cancel_requested), CANCELLED),
            else_=func.coalesce(_ranked.c.error_message, Task.error_message),
        ),
        # Kept on ended tasks: they tell who did it, and when it began.
        claimed_by=case((_ranked.c.waits, null()), else_=Task.claimed_by),
        claimed_at=case((_ranked.c.waits, null()), else_=Task.claimed_at),
        cancel_requested_at=null(),
        updated_at=_now,
    )
    .returning(
        Task.id,
        Task.task_type,
        Task.attempts,
        Task.scheduled_at,
        _given_back.label("given_back"),
        _ranked.c.claimed_at,
        _ranked.c.outcome,
        _ranked.c.delay,
        _ranked.c.ran_ms,
        _ranked.c.bucket,
        _ranked.c.error_class,
        _ranked.c.message,
        _ranked.c.traceback,
        _ranked.c.fingerprint,
    )
    .cte("settled")
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
            "delay_ms",
            "error_class",
            "message",
            "traceback",
            "fingerprint",
        ],
        select(
            _settled.c.id,
            _settled.c.attempts,
            _settled.c.task_type,
            _settled.c.outcome,
            fence.me,
            bindparam("release", type_=String),
            _settled.c.claimed_at,
            _now,
            _settled.c.ran_ms,
            cast(_settled.c.delay * 1000, BigInteger),
            _settled.c.error_class,
            _settled.c.message,
            _settled.c.traceback,
            _settled.c.fingerprint,
        ).where(_settled.c.outcome != Ending.FINISHED),
    )
    .cte("attempts")
)
_minutes = minutes.counted(
    _settled, and_(_settled.c.outcome != Ending.RELEASED, _settled.c.outcome != Ending.SNOOZED), _now
)
_SETTLE = select(cast(_settled.c.id, Text), waking(_settled, _settled.c.given_back)).add_cte(
    _attempts, _minutes
)


def settle(
    connection: Connection, settlements: Sequence[Settlement], *, worker_id: UUID, release: str
) -> set[str]:
    """Write the verdicts of this worker's own attempts; the ids that were written.

    Of what is missing from the answer nothing is written. Either another transaction has its row locked, and
    `fence.still_ours` names it, or the claim is lost: the task was rescued, deleted or settled before. Finished ones go
    in a statement of their own, which is a part of this one and costs a third.
    """
    finished = [item for item in settlements if item.verdict is FINISHED]
    others = [item for item in settlements if item.verdict is not FINISHED]
    written = finish(connection, finished, worker_id=worker_id) if finished else set()
    if others:
        given = {
            "settlements": [_row(item) for item in others],
            "worker_id": str(worker_id),
            "release": release,
        }
        written |= set(connection.execute(_SETTLE, given).scalars())
    return written


_STATE_AFTER = {
    Ending.FINISHED: TaskState.FINISHED.value,
    Ending.FAILED: TaskState.FAILED.value,
    Ending.CANCELLED: TaskState.FAILED.value,
    Ending.RETRIED: "waiting",
    Ending.TIMED_OUT: "waiting",
    Ending.SNOOZED: "waiting",
    Ending.RELEASED: "waiting",
}


def _row(item: Settlement) -> dict[str, Any]:
    verdict, report = item.verdict, item.verdict.report
    return {
        "id": item.key,
        "attempts": item.attempts,
        "outcome": verdict.ending.value,
        "state": _STATE_AFTER[verdict.ending],
        "counts_as_retry": verdict.ending in (Ending.RETRIED, Ending.TIMED_OUT),
        # In this order NaN becomes 0 too: one bad number would keep the whole batch from being written.
        "delay": min(max(0.0, verdict.delay_seconds), MAX_DELAY_SECONDS),
        "claimed_at": item.claimed_at,
        "ran_ms": item.ran_ms,
        "bucket": minutes.bucket(item.ran_ms),
        "error_message": f"{report.error_class}: {report.message}"
        if report and report.error_class
        else (report.message if report else None),
        "error_class": report.error_class if report else None,
        "message": report.message if report else None,
        "traceback": report.traceback if report else None,
        "fingerprint": report.fingerprint if report else None,
    }
