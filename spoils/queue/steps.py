"""Steps of jobs: reading those that a task has done, and writing one for the attempt that holds it."""

from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Engine,
    Integer,
    String,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from spoils.db.statements import Statement
from spoils.models import Step, Task
from spoils.queue import fence
from spoils.queue.claim import Claim
from spoils.queue.finish import ClaimLost

_READ = Statement(
    select(Step.name, cast(Step.result, Text)).where(
        Step.task_id == cast(bindparam("key", type_=Text), Uuid)
    ),
    "steps",
    anywhere=True,
)
# The task's row is locked up to the commit: a rescue waits for it, so the next attempt finds the step.
_held = fence.locking(
    select(Task.id, Task.attempts).where(
        fence.fence(
            cast(bindparam("key", type_=Text), Uuid),
            cast(bindparam("fence"), Integer),
            cast(bindparam("moment", type_=Text), DateTime(timezone=True)),
        )
    ),
    skip_locked=False,
).cte("held")
_WRITE = Statement(
    insert(Step)
    .from_select(
        ["task_id", "name", "attempt", "result", "ran_ms", "done_at"],
        select(
            _held.c.id,
            cast(bindparam("step", type_=Text), String),
            _held.c.attempts,
            cast(bindparam("returned", type_=Text), JSONB),
            cast(bindparam("ran"), BigInteger),
            func.statement_timestamp(),
        ),
        include_defaults=False,
    )
    .returning(Step.name),
    "step",
    anywhere=True,
)


class StepLog:
    """The steps of the tasks of one worker. `engine` is not that of the jobs' sessions, all of whose connections may be
    held by jobs that wait for a step to be written."""

    def __init__(self, engine: Engine, worker_id: UUID) -> None:
        self._engine = engine
        self._worker_id = worker_id

    def read(self, claim: Claim) -> dict[str, str]:
        """The results of the task's steps, as JSON texts, by their names."""
        with self._engine.begin() as connection:
            return dict(_READ.rows(connection, {"key": claim.key}))

    def write(self, claim: Claim, name: str, result: str, ran_ms: int) -> None:
        """Write a step in a transaction of its own. Raises ClaimLost where the task belongs to another attempt."""
        with self._engine.begin() as connection:
            write_step(connection, claim, name, result, ran_ms, worker_id=self._worker_id)


def write_step(
    connection: Connection, claim: Claim, name: str, result: str, ran_ms: int, *, worker_id: UUID
) -> None:
    """Write a step of the attempt that holds `claim`, with its result as JSON text. Raises ClaimLost."""
    values = {
        "key": claim.key,
        "fence": claim.attempts,
        "moment": claim.claimed_at,
        "step": name,
        "returned": result,
        "ran": ran_ms,
        "worker_id": str(worker_id),
    }
    if not _WRITE.rows(connection, values):
        raise ClaimLost
