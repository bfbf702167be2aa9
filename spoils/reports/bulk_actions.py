"""Bulk actions as pages show them: progress, refusals, whether it can be undone, and which tasks it would act on."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, select

from spoils.models import Audit, Bulk, DbSession, Task, TaskState, Trash
from spoils.queue import failures
from spoils.queue.selection import Selection, found_by


def find(session: DbSession, bulk_id: UUID) -> Bulk | None:
    """The bulk action of that id, with its progress."""
    return session.get(Bulk, bulk_id, populate_existing=True)


def refusals(session: DbSession, bulk_id: UUID, *, after: int = 0, limit: int = 100) -> Sequence[Audit]:
    """The audit log entries of refused tasks, in order, from the one after `after` on."""
    statement = select(Audit).where(Audit.bulk_id == bulk_id, ~Audit.done, Audit.id > after)
    return session.scalars(statement.order_by(Audit.id).limit(limit)).all()


def restorable(connection: Connection, bulk_id: UUID) -> bool:
    """Whether a task that it deleted is still in the trash."""
    return connection.scalar(select(Trash.id).where(Trash.bulk_id == bulk_id).limit(1)) is not None


def some_of(selection: Selection, limit: int) -> Select[Any]:
    """Ids of up to `limit` tasks of a selection, the last changed first where an index has them so."""
    if selection.group:
        return failures.newest_in(selection.group, limit)
    found = found_by(selection)
    if not selection.ids and selection.state in (TaskState.FAILED, TaskState.FINISHED):
        found = found.order_by(Task.updated_at.desc(), Task.id.desc())
    few = found.limit(limit).subquery()
    return select(few.c.id)
