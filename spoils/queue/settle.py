"""Writing outcomes: one fenced statement for a batch, with the attempts and the minutes that hang on it."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    Connection,
    DateTime,
    Float,
    Integer,
    Select,
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

from spoils.job.outcome import FINISHED, Ending
from spoils.models import Attempt, Task, TaskState
from spoils.queue import fence, minute_stats
from spoils.queue.finish import finish
from spoils.queue.holds import hold
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
    func.jsonb_to_recordset(cast(bindparam("settlements", type_=Text), JSONB))
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
        column("result", JSONB),
        name="given",
    )
    .render_derived(with_types=True)
)
_waits = _given.c.state == "waiting"
# Not now(), which in a job's own transaction is the moment at which its session opened.
_now = func.statement_timestamp()
_claims = select(*_given.c, Task.uniq_hash, Task.created_at, _waits.label("waits")).where(fence.of(_given.c))


def _settled(held: CTE) -> CTE:
    of = ranked(held, among=held.c.waits)
    retries = func.least(Task.retries, MOST_RETRIES) + case((of.c.counts_as_retry, 1), else_=0)
    given_back = and_(of.c.outcome == Ending.RELEASED, of.c.delay == 0)
    return (
        update(Task)
        .where(Task.id == of.c.id)
        .values(
            state=case((of.c.waits, state_in_waiting(retries)), else_=cast(of.c.state, STATES)),
            retries=retries,
            # A released task keeps its place in the queue.
            scheduled_at=case(
                (
                    and_(of.c.waits, ~given_back),
                    _now + of.c.delay * func.make_interval(0, 0, 0, 0, 0, 0, 1),
                ),
                else_=Task.scheduled_at,
            ),
            uniq_hash=case((of.c.waits, hash_in_waiting(of)), else_=Task.uniq_hash),
            error_message=case(
                (of.c.outcome == Ending.FINISHED, null()),
                (and_(of.c.waits, cancel_requested), CANCELLED),
                else_=func.coalesce(of.c.error_message, Task.error_message),
            ),
            result=of.c.result,
            # Kept on ended tasks: the worker, and when it began.
            claimed_by=case((of.c.waits, null()), else_=Task.claimed_by),
            claimed_at=case((of.c.waits, null()), else_=Task.claimed_at),
            cancel_requested_at=null(),
            updated_at=_now,
        )
        .returning(
            Task.id,
            Task.task_type,
            Task.attempts,
            Task.scheduled_at,
            given_back.label("given_back"),
            of.c.claimed_at,
            of.c.outcome,
            of.c.delay,
            of.c.ran_ms,
            of.c.bucket,
            of.c.error_class,
            of.c.message,
            of.c.traceback,
            of.c.fingerprint,
        )
        .cte("settled")
    )


def _writing(settled: CTE) -> Select[Any]:
    attempts = (
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
                settled.c.id,
                settled.c.attempts,
                settled.c.task_type,
                settled.c.outcome,
                fence.me,
                bindparam("release", type_=String),
                settled.c.claimed_at,
                _now,
                settled.c.ran_ms,
                cast(settled.c.delay * 1000, BigInteger),
                settled.c.error_class,
                settled.c.message,
                settled.c.traceback,
                settled.c.fingerprint,
            ).where(settled.c.outcome != Ending.FINISHED),
        )
        .cte("attempts")
    )
    counted = minute_stats.counted(
        settled, and_(settled.c.outcome != Ending.RELEASED, settled.c.outcome != Ending.SNOOZED), _now
    )
    return select(cast(settled.c.id, Text), waking(settled, settled.c.given_back)).add_cte(attempts, counted)


_SETTLE = fence.Writing(
    waiting=_writing(_settled(fence.locking(_claims, skip_locked=False).cte("held"))),
    skipping=_writing(_settled(fence.locking(_claims).cte("held"))),
    name="settle",
)


def settle(
    connection: Connection,
    settlements: Sequence[Settlement],
    *,
    worker_id: UUID,
    release: str,
    skip_locked: bool = False,
) -> set[str]:
    """Write the verdicts of this worker's own attempts; the ids that were written.

    On an autocommit connection. Of what is missing from the answer nothing is written: its row is locked, and
    `fence.still_ours` names it, or the claim is lost, since the task was rescued, deleted or settled before. Locked
    rows are waited for, but not for long, or with `skip_locked` not at all. Finished ones go in a statement of their
    own, which is a part of this one and costs a third; they are written also where the other one fails. Raises
    BlockedByOther where an open insert of a duplicate, or the batch of a member, blocks one: each is then to be written
    singly.
    """
    finished = [item for item in settlements if item.verdict is FINISHED]
    others = [item for item in settlements if item.verdict is not FINISHED]
    written = set()
    if finished:
        written = finish(connection, finished, worker_id=worker_id, skip_locked=skip_locked)
    # Before the outcomes: a hold without one does no harm.
    if asked := {item.key: item.verdict.hold_seconds for item in others if item.verdict.hold_seconds}:
        hold(connection, asked)
    if others:
        values = {
            "settlements": json.dumps([_row(item) for item in others]),
            "worker_id": str(worker_id),
            "release": release,
        }
        written |= {task_id for task_id, _ in _SETTLE.rows(connection, values, skip_locked=skip_locked)}
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
        "bucket": minute_stats.bucket(item.ran_ms),
        "error_message": f"{report.error_class}: {report.message}"
        if report and report.error_class
        else (report.message if report else None),
        "error_class": report.error_class if report else None,
        "message": report.message if report else None,
        "traceback": report.traceback if report else None,
        "fingerprint": report.fingerprint if report else None,
        "result": None if verdict.result is None else json.loads(verdict.result),
    }
