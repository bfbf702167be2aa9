"""Releases tasks that this worker has claimed: strays, which it does not know of, and those it has not started."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    Connection,
    ScalarSelect,
    Select,
    Text,
    Uuid,
    all_,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.sql.elements import ColumnElement

from spoils.db import arrays
from spoils.db.statements import Statement
from spoils.models import WAITING, Task, TaskState
from spoils.queue import fence
from spoils.queue.settlement import Token

CANCELLED = "Cancelled by an operator."
STATES = Task.__table__.c.state.type

# PostgreSQL refuses a commit with notifications while their queue is full. Workers poll as well.
may_notify = func.pg_notification_queue_usage() < 0.5
cancel_requested = Task.cancel_requested_at.is_not(None)
_duplicate = aliased(Task, name="duplicate")
_duplicate_waits = exists(
    select(_duplicate.id).where(
        _duplicate.uniq_hash == Task.uniq_hash,
        # As literals: the predicate of the index, in a statement whose text never changes.
        _duplicate.state.in_([literal_column(f"'{state.value}'") for state in WAITING]),
        _duplicate.id != Task.id,
    )
)
_LONG_AGO: ColumnElement[datetime] = literal_column("timestamptz '2000-01-01 00:00:00+00'")
LOOK_BACK_SECONDS = 2
only: ColumnElement[UUID] = cast(bindparam("only", type_=Text), Uuid)
"""The one task that a `GivingBack` releases, or NULL."""
_NOBODY = str(UUID(int=0))


def ranked(held: CTE, *, among: ColumnElement[bool] | None = None) -> CTE:
    """Tasks that a statement has locked, and of each whether it is the first of its hash among those that go back.

    `held` has the columns id, uniq_hash and created_at. PostgreSQL locks no rows where it numbers them, hence a part of
    its own.
    """
    partition = [held.c.uniq_hash] if among is None else [held.c.uniq_hash, among]
    place = func.row_number().over(partition_by=partition, order_by=[held.c.created_at, held.c.id])
    return select(held, (place == 1).label("first_of_hash")).cte("ranked")


def hash_in_waiting(ranked: CTE) -> ColumnElement[Any]:
    """The hash of a task that goes back: NULL where a duplicate waits already, or goes back in the same statement.

    Duplicates come to wait meanwhile where the unique index leaves out what runs: those that are unique only while they
    wait, and all beside Rust workers.
    """
    taken = and_(Task.uniq_hash.is_not(None), or_(~ranked.c.first_of_hash, _duplicate_waits))
    return case((taken, null()), else_=Task.uniq_hash)


def state_in_waiting(retries: ColumnElement[int] | InstrumentedAttribute[int]) -> ColumnElement[TaskState]:
    """The state of a task that goes back: `retried` or `new`, but `failed` where an operator cancelled it meanwhile."""
    return case(
        (cancel_requested, cast(TaskState.FAILED.value, STATES)),
        (retries > 0, cast(TaskState.RETRIED.value, STATES)),
        else_=cast(TaskState.NEW.value, STATES),
    )


def waking(given_back: CTE, condition: ColumnElement[bool] | None = None) -> ScalarSelect[Any]:
    """The part of a statement that wakes idle workers for what it released, by the column scheduled_at.

    The tasks keep their place. So the notification says how long ago the oldest fell due, and claims look there: in
    seconds below zero, and two at the least, since claims may have passed what fell due just now.
    """
    oldest = func.greatest(
        func.min(given_back.c.scheduled_at), _LONG_AGO
    )  # infinity less a moment is an error
    age = func.least(func.extract("epoch", oldest - func.clock_timestamp()), -LOOK_BACK_SECONDS)
    found = (
        select(age.label("age"))
        .select_from(given_back)
        .where(true() if condition is None else condition)
        .having(and_(func.count() > 0, may_notify))
        .subquery()
    )
    return select(func.count(func.pg_notify("spoils_tasks", cast(found.c.age, Text)))).scalar_subquery()


def giving_back(held: CTE) -> Select[Any]:
    """Tasks that a statement has locked go back uncounted: due when they were, and their retries as they were.

    One row, whose first column is the array of their ids as text, or NULL.
    """
    of = ranked(held)
    back = (
        update(Task)
        .where(Task.id == of.c.id)
        .values(
            state=state_in_waiting(Task.retries),
            uniq_hash=hash_in_waiting(of),
            error_message=case((cancel_requested, CANCELLED), else_=Task.error_message),
            claimed_by=null(),
            claimed_at=null(),
            cancel_requested_at=null(),
            updated_at=func.now(),
        )
        .returning(Task.id, Task.scheduled_at)
        .cte("back")
    )
    return select(func.array_agg(cast(back.c.id, Text)).label("ids"), waking(back)).select_from(back)


def locked(tasks: Select[*tuple[Any, ...]]) -> CTE:
    """The part of a `GivingBack` that locks its tasks, but skips those that another transaction has locked."""
    return fence.locking(tasks.where(or_(only.is_(None), Task.id == only))).cte("held")


class GivingBack:
    """A `statement` over the `locked` ones of `tasks`; its parameter `only` is the id of one, or NULL for all."""

    def __init__(self, statement: Select[Any], tasks: Select[*tuple[Any, ...]], name: str) -> None:
        self._statement = Statement(statement, name, lock_timeout_ms=fence.ENTRY_TIMEOUT_MS)
        self._ids = Statement(tasks.with_only_columns(cast(Task.id, Text)), f"{name}_ids")

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute it on an autocommit connection. It has one row, but one for each task where an open transaction has
        inserted a duplicate of one; the last row is then of an execution that releases none.
        """
        try:
            return self._rows(connection, values, None)
        except fence.BlockedByOther:
            rows = []
            for (key,) in self._ids.rows(connection, values):
                with suppress(fence.BlockedByOther):
                    rows += self._rows(connection, values, key)
            return rows + self._rows(connection, values, _NOBODY)

    def _rows(
        self, connection: Connection, values: Mapping[str, Any], key: str | None
    ) -> list[tuple[Any, ...]]:
        with fence.not_blocked():
            return self._statement.rows(connection, {**values, "only": key})


def ids_of(rows: Iterable[tuple[Any, ...]]) -> list[UUID]:
    """The ids in the rows of `giving_back`."""
    return [UUID(key) for ids, *_ in rows for key in ids or ()]


what_goes_back = select(Task.id, Task.uniq_hash, Task.created_at)
_claimed = what_goes_back.where(fence.of(fence.tokens.c))
_RELEASE = GivingBack(giving_back(locked(_claimed)), _claimed, "release")
_stray = and_(
    Task.state == TaskState.IN_PROGRESS,
    Task.claimed_by == fence.me,
    Task.id != all_(arrays.parameter("held_ids", Uuid)),
)
_strays = what_goes_back.where(_stray)
_number = select(func.count()).select_from(Task).where(_stray).scalar_subquery()
_RELEASE_STRAYS = GivingBack(giving_back(locked(_strays)).add_columns(_number), _strays, "release_strays")


def release(connection: Connection, *, worker_id: UUID, tokens: Sequence[Token]) -> list[UUID]:
    """Release claims of this worker that were never started; the ids of those that were its own and not locked."""
    return ids_of(_RELEASE.rows(connection, fence.values(tokens, worker_id)))


def release_strays(
    connection: Connection, *, worker_id: UUID, held: Iterable[str]
) -> tuple[list[UUID], bool]:
    """Release every task that is claimed by this worker and not among `held`: their ids, and whether any is left
    since its row is locked.

    A claim whose answer was lost leaves such tasks: the row names this worker, which does not perform it.
    """
    rows = _RELEASE_STRAYS.rows(connection, {"worker_id": str(worker_id), "held_ids": arrays.plain(held)})
    ids, _, number = rows[-1]
    return ids_of(rows), len(ids or ()) < number


def wake(connection: Connection) -> None:
    """Wake the idle workers: tasks are due without an insert."""
    connection.execute(select(func.pg_notify("spoils_tasks", "0")).where(may_notify))
