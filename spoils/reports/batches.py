"""Reading batches and chains: a page of all, one, and its members by state."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Text, cast, func, select

from spoils.models import Batch, DbSession, Task, TaskState
from spoils.reports.brief_tasks import brief_tasks
from spoils.reports.pager import Cursor, Page

PAGE = 50
FAR = 5_000
"""This many of the batches that were enqueued last are searched for the end of an id."""
Key = tuple[datetime, UUID]
"""The key of a batch in the list: when it was enqueued, and its id."""


def find(session: DbSession, batch_id: UUID) -> Batch | None:
    """The batch or chain of that id."""
    return session.get(Batch, batch_id, populate_existing=True)


def with_short_id(session: DbSession, short_id: str) -> UUID | None:
    """The id that ends so, of one of the batches and chains that were enqueued last."""
    newest = select(Batch.id).order_by(Batch.created_at.desc(), Batch.id.desc()).limit(FAR).subquery()
    ends_so = func.right(cast(newest.c.id, Text), len(short_id)) == short_id
    return session.execute(select(newest.c.id).where(ends_so).limit(1)).scalar()


def page_of_batches(
    session: DbSession, *, older_than: Key | None = None, newer_than: Key | None = None, limit: int = PAGE
) -> Page[Batch, Key]:
    """One page of all batches and chains, the last enqueued first."""
    cursor = Cursor(older_than, newer_than)
    statement = cursor.rows_of(select(Batch), Batch.created_at, Batch.id)
    found = session.scalars(statement.limit(limit + 1)).all()
    return cursor.page(found, limit, lambda batch: (batch.created_at, batch.id))


def members_by_state(
    session: DbSession, batch_id: UUID, task_type: str | None = None
) -> dict[TaskState, int]:
    """How many members that still exist are in each state."""
    statement = select(Task.state, func.count().label("number")).where(Task.batch_id == batch_id)
    if task_type is not None:
        statement = statement.where(Task.task_type == task_type)
    found = {row.state: row.number for row in session.execute(statement.group_by(Task.state))}
    return {state: found.get(state, 0) for state in TaskState}


def links_of(session: DbSession, chain_id: UUID, limit: int = 100) -> Sequence[Task]:
    """The links of a chain that were enqueued and still exist, in their order."""
    statement = select(Task).where(Task.batch_id == chain_id).order_by(Task.created_at, Task.id)
    return brief_tasks(session, statement.limit(limit))
