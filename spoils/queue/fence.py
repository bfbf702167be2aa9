"""The fence: a statement writes only to the running task of the very claim that it was given."""

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.selectable import GenerativeSelect

from spoils.db import arrays
from spoils.models import Task, TaskState
from spoils.queue.settlement import Token

Selecting = TypeVar("Selecting", bound=GenerativeSelect)

me: ColumnElement[UUID] = cast(bindparam("worker_id", type_=Text), Uuid)
"""The worker that executes the statement, as text in the parameter `worker_id`."""
tokens = (
    func.unnest(
        arrays.parameter("ids", Uuid),
        arrays.parameter("fences", Integer),
        arrays.parameter("moments", DateTime(timezone=True)),
    )
    .table_valued(
        column("id", Uuid),
        column("attempts", Integer),
        column("claimed_at", DateTime(timezone=True)),
    )
    .render_derived(name="given")
)


def fence(
    key: ColumnElement[UUID], attempts: ColumnElement[int], claimed_at: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Whether a task is still this claim's.

    `claimed_at` is a part of it: claims commit asynchronously. A crash of the server can lose one, and when the same
    worker claims the task again, `attempts` has the same value as before.
    """
    return and_(
        Task.id == key,
        # As text, the comparison cannot use the index of running tasks: it is full of dead entries while one of its own
        # rows after the other ends, and the primary key is not.
        cast(Task.state, Text) == TaskState.IN_PROGRESS.value,
        Task.claimed_by == me,
        Task.attempts == attempts,
        Task.claimed_at == claimed_at,
    )


def of(given: ReadOnlyColumnCollection[str, Any]) -> ColumnElement[bool]:
    """The fence of the claims in a table with the columns id, attempts and claimed_at."""
    return fence(given.id, given.attempts, given.claimed_at)


def unlocked(statement: Selecting) -> Selecting:
    """Lock the tasks that `statement` finds, but skip those that another transaction has locked."""
    return statement.with_for_update(of=Task, skip_locked=True, key_share=True)


def values(given: Iterable[Token], worker_id: UUID) -> dict[str, str]:
    """The parameters of a statement that takes `tokens`."""
    ids, fences, moments = zip(*given, strict=True)
    return {
        "ids": arrays.plain(ids),
        "fences": arrays.plain(fences),
        "moments": arrays.quoted(moments),
        "worker_id": str(worker_id),
    }


_STILL_OURS = select(cast(Task.id, Text)).where(of(tokens.c))


def still_ours(connection: Connection, given: Iterable[Token], *, worker_id: UUID) -> set[str]:
    """The ids of those claims that still hold: a statement that has not written them found them locked."""
    return set(connection.execute(_STILL_OURS, values(given, worker_id)).scalars())
