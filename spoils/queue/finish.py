"""Writing the one outcome that has nothing to tell: finished."""

from collections.abc import Sequence
from uuid import UUID

from psycopg2.errors import InvalidTextRepresentation
from sqlalchemy import (
    CTE,
    BigInteger,
    Connection,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    null,
    select,
    true,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ColumnElement

from spoils.db import arrays
from spoils.db.compiled import Compiled
from spoils.db.explicit import ExplicitTransaction
from spoils.errors import SpoilsError
from spoils.models import Task, TaskState
from spoils.outcome import Ending
from spoils.queue import minutes
from spoils.queue.settlement import Settlement

# Not now(), which in a job's own transaction is the moment at which its session opened.
_now = func.statement_timestamp()
_given = (
    func.unnest(
        arrays.parameter("ids", Uuid),
        arrays.parameter("fences", Integer),
        arrays.parameter("times", BigInteger),
        arrays.parameter("buckets", SmallInteger),
    )
    .table_valued(
        column("id", Uuid),
        column("attempts", Integer),
        column("ran_ms", BigInteger),
        column("bucket", SmallInteger),
    )
    .render_derived(name="given")
)


def _finishing(
    key: ColumnElement[UUID],
    fence: ColumnElement[int],
    ran_ms: ColumnElement[int],
    bucket: ColumnElement[int],
) -> CTE:
    return (
        update(Task)
        .where(
            Task.id == key,
            # As text, the comparison cannot use the index of running tasks: it is full of dead entries while one of its
            # own rows after the other ends, and the primary key is not.
            cast(Task.state, Text) == TaskState.IN_PROGRESS.value,
            Task.claimed_by == cast(bindparam("worker_id", type_=Text), Uuid),
            Task.attempts == fence,
        )
        .values(
            state=TaskState.FINISHED,
            error_message=null(),
            cancel_requested_at=null(),
            updated_at=_now,
        )
        .returning(
            cast(Task.id, Text).label("id"),
            Task.task_type,
            literal(Ending.FINISHED.value).label("outcome"),
            ran_ms.label("ran_ms"),
            bucket.label("bucket"),
        )
        .cte("settled")
    )


_finished = _finishing(_given.c.id, _given.c.attempts, _given.c.ran_ms, _given.c.bucket)
_FINISH = Compiled(
    select(_finished.c.id).add_cte(minutes.counted(_finished, true(), _now)), "finish", anywhere=True
)
_LOST = "the claim is lost"
_finished_one = _finishing(
    cast(bindparam("key", type_=Text), Uuid),
    cast(bindparam("fence"), Integer),
    cast(bindparam("ran_ms"), BigInteger),
    cast(bindparam("bucket"), SmallInteger),
)
_FINISH_ONE = Compiled(
    # Nobody hears how many rows it wrote, so none is an error: that its words are no number.
    select(cast(case((func.count() == 1, "1"), else_=_LOST), Integer))
    .select_from(_finished_one)
    .add_cte(minutes.counted(_finished_one, true(), _now)),
    "finish_one",
    anywhere=True,
)


class ClaimLost(SpoilsError):
    """The task is no longer this attempt's: it was rescued, released or deleted meanwhile."""


def finish(connection: Connection, settlements: Sequence[Settlement], *, worker_id: UUID) -> set[str]:
    """Write that these attempts of this worker have finished; the ids that were written, as in `settle`."""
    ids, fences, _, _, times = zip(*settlements, strict=True)
    rows = _FINISH.rows(
        connection,
        {
            "ids": arrays.plain(ids),
            "fences": arrays.plain(fences),
            "times": arrays.plain(times),
            "buckets": arrays.plain(map(minutes.bucket, times)),
            "worker_id": str(worker_id),
        },
    )
    return {task_id for (task_id,) in rows}


def finish_and_commit(transaction: ExplicitTransaction, settlement: Settlement, *, worker_id: UUID) -> None:
    """Write that this attempt has finished, and commit all of its transaction; raises ClaimLost with nothing committed.

    One round trip to the server.
    """
    values = {
        "key": settlement.key,
        "fence": settlement.attempts,
        "ran_ms": settlement.ran_ms,
        "bucket": minutes.bucket(settlement.ran_ms),
        "worker_id": str(worker_id),
    }
    try:
        transaction.commit_after(_FINISH_ONE, values)
    except DBAPIError as exc:
        if isinstance(exc.orig, InvalidTextRepresentation) and _LOST in str(exc.orig):
            raise ClaimLost from exc
        raise
