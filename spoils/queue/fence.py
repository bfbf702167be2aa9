"""The fence: a statement writes only to the running task of exactly the claim that it was given."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

from psycopg2.errors import LockNotAvailable, UniqueViolation
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
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.selectable import GenerativeSelect

from spoils.db import arrays
from spoils.db.statements import Statement
from spoils.errors import SpoilsError
from spoils.models import Task, TaskState
from spoils.queue.settlement import Token

Selecting = TypeVar("Selecting", bound=GenerativeSelect)

LOCK_TIMEOUT_MS = 200
"""How long outcomes wait for locked rows before those are skipped. A claim locks rows for a few milliseconds."""
ENTRY_TIMEOUT_MS = 50
"""How long a statement that skips locked rows waits for one that is inserting a duplicate, or that holds a batch."""
UNIQUE_INDEX = "fang_tasks_active_hash_idx"
BATCHES = "spoils_batches"

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


def locking(statement: Selecting, *, skip_locked: bool = True) -> Selecting:
    """Lock the tasks that `statement` finds, but skip those that another transaction has locked, or wait for them."""
    return statement.with_for_update(of=Task, skip_locked=skip_locked, key_share=True)


class BlockedByOther(SpoilsError):
    """An open transaction holds the batch of one of the tasks, or a duplicate of one was inserted meanwhile."""


@contextmanager
def not_blocked() -> Iterator[None]:
    """A wait for an entry of the unique index or for a batch that takes too long, or a duplicate that was committed
    meanwhile, is raised as BlockedByOther.

    SKIP LOCKED does not help, since no row of a task blocks. A duplicate blocks where the unique index leaves out
    running tasks: those that are unique only while they wait, and all beside Rust workers. A batch blocks where another
    member's completion does not commit. The error's context names what blocks, in whatever language the server speaks.
    """
    try:
        yield
    except DBAPIError as exc:
        context = exc.orig.diag.context or "" if isinstance(exc.orig, LockNotAvailable) else ""
        if UNIQUE_INDEX in context or BATCHES in context or _met_duplicate(exc):
            raise BlockedByOther from exc
        raise


def _met_duplicate(error: DBAPIError) -> bool:
    return isinstance(error.orig, UniqueViolation) and error.orig.diag.constraint_name == UNIQUE_INDEX


class Writing:
    """Two forms of a statement that writes outcomes: one waits for locked rows, the other skips them and costs more."""

    def __init__(self, *, waiting: ClauseElement, skipping: ClauseElement, name: str) -> None:
        self.waiting = Statement(waiting, name, lock_timeout_ms=LOCK_TIMEOUT_MS)
        self.skipping = Statement(skipping, f"{name}_unlocked", lock_timeout_ms=ENTRY_TIMEOUT_MS)

    def rows(
        self, connection: Connection, values: Mapping[str, Any], *, skip_locked: bool
    ) -> list[tuple[Any, ...]]:
        """Execute it on an autocommit connection; it skips what it has waited for in vain."""
        if not skip_locked:
            try:
                return self.waiting.rows(connection, values)
            except DBAPIError as exc:
                if _met_duplicate(exc):
                    raise BlockedByOther from exc
                if not isinstance(exc.orig, LockNotAvailable):
                    raise
        with not_blocked():
            return self.skipping.rows(connection, values)


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
