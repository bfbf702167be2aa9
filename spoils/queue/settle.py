"""Writing outcomes: one fenced statement for a batch, with the attempts and the minutes that hang on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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

from spoils.models import Attempt, Minute, Task, TaskState
from spoils.outcome import Ending, Verdict
from spoils.queue import minutes
from spoils.queue.release import STATES, hash_kept

MAX_DELAY_SECONDS = 3650 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Settlement:
    """The verdict on one claimed attempt; `attempts` is the fence together with the worker's id."""

    task_id: UUID
    attempts: int
    verdict: Verdict
    claimed_at: datetime
    ran_ms: int

    @property
    def token(self) -> tuple[UUID, int]:
        """The claim that this settles."""
        return self.task_id, self.attempts


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
_retries = Task.retries + case((_given.c.counts_as_retry, 1), else_=0)
_state = case(
    (_given.c.state != "waiting", cast(_given.c.state, STATES)),
    (_retries > 0, cast(TaskState.RETRIED.value, STATES)),
    else_=cast(TaskState.NEW.value, STATES),
)
_waits = _given.c.state == "waiting"

_settled = (
    update(Task)
    .where(
        Task.id == _given.c.id,
        Task.state == TaskState.IN_PROGRESS,
        Task.claimed_by == bindparam("worker_id"),
        Task.attempts == _given.c.attempts,
    )
    .values(
        state=_state,
        uniq_hash=case((_waits, hash_kept), else_=Task.uniq_hash),
        retries=_retries,
        scheduled_at=case(
            (_waits, func.now() + _given.c.delay * func.make_interval(0, 0, 0, 0, 0, 0, 1)),
            else_=Task.scheduled_at,
        ),
        error_message=case(
            (_given.c.outcome == Ending.FINISHED, null()),
            else_=func.coalesce(_given.c.error_message, Task.error_message),
        ),
        # Kept on ended tasks: they tell who did it, and when it began.
        claimed_by=case((_waits, null()), else_=Task.claimed_by),
        claimed_at=case((_waits, null()), else_=Task.claimed_at),
        cancel_requested_at=null(),
        updated_at=func.now(),
    )
    .returning(
        Task.id,
        Task.task_type,
        Task.attempts,
        _given.c.claimed_at,
        _given.c.outcome,
        _given.c.delay,
        _given.c.ran_ms,
        _given.c.bucket,
        _given.c.error_class,
        _given.c.message,
        _given.c.traceback,
        _given.c.fingerprint,
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
            cast(bindparam("worker_id"), Uuid),
            bindparam("release", type_=String),
            _settled.c.claimed_at,
            func.now(),
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
_minutes = (
    insert(Minute)
    .from_select(
        ["minute", "task_type", "outcome", "bucket", "count", "ran_ms"],
        select(
            func.date_trunc("minute", func.now()),
            _settled.c.task_type,
            _settled.c.outcome,
            _settled.c.bucket,
            func.count(),
            func.sum(_settled.c.ran_ms),
        )
        .where(and_(_settled.c.outcome != Ending.RELEASED, _settled.c.outcome != Ending.SNOOZED))
        .group_by(_settled.c.task_type, _settled.c.outcome, _settled.c.bucket),
    )
    .cte("minutes")
)
_SETTLE = select(_settled.c.id).add_cte(_attempts, _minutes)


def settle(
    connection: Connection, settlements: Sequence[Settlement], *, worker_id: UUID, release: str
) -> set[UUID]:
    """Write the verdicts of this worker's own attempts; the ids that were written.

    What is missing from the answer was lost: it was rescued, deleted or settled before, and nothing of it is written.
    """
    given = {"settlements": [_row(item) for item in settlements], "worker_id": worker_id, "release": release}
    return set(connection.execute(_SETTLE, given).scalars())


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
        "id": str(item.task_id),
        "attempts": item.attempts,
        "outcome": verdict.ending.value,
        "state": _STATE_AFTER[verdict.ending],
        "counts_as_retry": verdict.ending in (Ending.RETRIED, Ending.TIMED_OUT),
        "delay": min(verdict.delay_seconds, MAX_DELAY_SECONDS),
        "claimed_at": item.claimed_at.isoformat(),
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
