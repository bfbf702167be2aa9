"""Writing the one outcome that has nothing to tell: finished."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    SmallInteger,
    Text,
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

from spoils.db import arrays
from spoils.db.compiled import Compiled
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
_finished = (
    update(Task)
    .where(
        Task.id == _given.c.id,
        # As text, the comparison cannot use the index of running tasks: it is full of dead entries while one of its own
        # rows after the other ends, and the primary key is not.
        cast(Task.state, Text) == TaskState.IN_PROGRESS.value,
        Task.claimed_by == cast(bindparam("worker_id", type_=Text), Uuid),
        Task.attempts == _given.c.attempts,
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
        _given.c.ran_ms,
        _given.c.bucket,
    )
    .cte("settled")
)
_FINISH = Compiled(
    select(_finished.c.id).add_cte(minutes.counted(_finished, true(), _now)), "finish", anywhere=True
)


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
