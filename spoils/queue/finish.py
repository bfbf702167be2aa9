"""Writes the outcome that has no details: finished, in a job's own transaction with its result."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from psycopg2.errors import LockNotAvailable
from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    Select,
    SmallInteger,
    Text,
    Update,
    Uuid,
    bindparam,
    cast,
    column,
    func,
    literal,
    null,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError

from spoils.db import arrays
from spoils.db.statements import Statement
from spoils.errors import SpoilsError
from spoils.job.outcome import Ending
from spoils.models import Task, TaskState
from spoils.queue import fence, minute_stats
from spoils.queue.settlement import Settlement

LOCK_TIMEOUT_MS = 5_000
"""How long a job that finishes in its own session waits for a lock on its task's row."""

# Not now(), which in a job's own transaction is the moment at which its session opened.
_now = func.statement_timestamp()
_given = (
    func.unnest(
        arrays.parameter("ids", Uuid),
        arrays.parameter("fences", Integer),
        arrays.parameter("moments", DateTime(timezone=True)),
        arrays.parameter("times", BigInteger),
        arrays.parameter("buckets", SmallInteger),
    )
    .table_valued(
        column("id", Uuid),
        column("attempts", Integer),
        column("claimed_at", DateTime(timezone=True)),
        column("ran_ms", BigInteger),
        column("bucket", SmallInteger),
    )
    .render_derived(name="given")
)
_finishing = update(Task).values(
    state=TaskState.FINISHED,
    error_message=null(),
    cancel_requested_at=null(),
    updated_at=_now,
)


def _settled(statement: Update, ran_ms: ColumnElement[int], bucket: ColumnElement[int]) -> CTE:
    return statement.returning(
        cast(Task.id, Text).label("id"),
        Task.task_type,
        literal(Ending.FINISHED.value).label("outcome"),
        ran_ms.label("ran_ms"),
        bucket.label("bucket"),
    ).cte("settled")


def _writing(settled: CTE) -> Select[Any]:
    return select(settled.c.id).add_cte(minute_stats.counted(settled, true(), _now))


_held = fence.locking(select(Task.id, _given.c.ran_ms, _given.c.bucket).where(fence.of(_given.c))).cte("held")
_FINISH = fence.Writing(
    waiting=_writing(_settled(_finishing.where(fence.of(_given.c)), _given.c.ran_ms, _given.c.bucket)),
    skipping=_writing(_settled(_finishing.where(Task.id == _held.c.id), _held.c.ran_ms, _held.c.bucket)),
    name="finish",
)
_finished_one = _settled(
    _finishing.values(result=cast(bindparam("returned", type_=Text), JSONB)).where(
        fence.fence(
            cast(bindparam("key", type_=Text), Uuid),
            cast(bindparam("fence"), Integer),
            cast(bindparam("moment", type_=Text), DateTime(timezone=True)),
        )
    ),
    cast(bindparam("ran_ms"), BigInteger),
    cast(bindparam("bucket"), SmallInteger),
)
_FINISH_ONE = Statement(
    _writing(_finished_one),
    "finish_one",
    anywhere=True,
    lock_timeout_ms=LOCK_TIMEOUT_MS,
)


class ClaimLost(SpoilsError):
    """The task now belongs to another attempt: it was rescued, released or deleted meanwhile."""


class TaskLocked(SpoilsError):
    """The job has ended, but another transaction holds a lock on a row that its completion writes."""


def finish(
    connection: Connection, settlements: Sequence[Settlement], *, worker_id: UUID, skip_locked: bool = False
) -> set[str]:
    """Finish these attempts of this worker; the ids that were written, as in `settle`."""
    ids, fences, _, moments, times = zip(*settlements, strict=True)
    rows = _FINISH.rows(
        connection,
        {
            "ids": arrays.plain(ids),
            "fences": arrays.plain(fences),
            "moments": arrays.quoted(moments),
            "times": arrays.plain(times),
            "buckets": arrays.plain(map(minute_stats.bucket, times)),
            "worker_id": str(worker_id),
        },
        skip_locked=skip_locked,
    )
    return {task_id for (task_id,) in rows}


@contextmanager
def finishing() -> Iterator[None]:
    """The completion of a job's own transaction: a lock timeout is raised as TaskLocked."""
    try:
        yield
    except DBAPIError as exc:
        if isinstance(exc.orig, LockNotAvailable):
            raise TaskLocked from exc
        raise


def finish_one(connection: Connection, settlement: Settlement, *, worker_id: UUID) -> None:
    """Finish this attempt, or raise ClaimLost. Waits up to 5 s for a locked row, here and later in the transaction."""
    if not _FINISH_ONE.rows(connection, _values(settlement, worker_id)):
        raise ClaimLost


def _values(settlement: Settlement, worker_id: UUID) -> dict[str, object]:
    return {
        "key": settlement.key,
        "fence": settlement.attempts,
        "moment": settlement.claimed_at,
        "ran_ms": settlement.ran_ms,
        "bucket": minute_stats.bucket(settlement.ran_ms),
        "returned": settlement.verdict.result,
        "worker_id": str(worker_id),
    }
