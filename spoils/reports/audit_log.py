"""Reading the audit log: a page of all entries, and the entries of one task."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import or_, select

from spoils.models import Audit, DbSession
from spoils.reports.pager import Cursor, Page

PAGE = 50


def page_of_entries(
    session: DbSession, *, older_than: int | None = None, newer_than: int | None = None, limit: int = PAGE
) -> Page[Audit, tuple[int]]:
    """One page of all entries, the latest first. An action on many tasks is one entry."""
    cursor = Cursor((older_than,) if older_than else None, (newer_than,) if newer_than else None)
    of_many = or_(Audit.task_id.is_(None), Audit.bulk_id.is_(None))
    statement = cursor.rows_of(select(Audit).where(of_many), Audit.id)
    return cursor.page(session.scalars(statement.limit(limit + 1)).all(), limit, lambda entry: (entry.id,))


def entries_of(session: DbSession, task_id: UUID, limit: int = 50) -> Sequence[Audit]:
    """The entries of one task, the latest first."""
    statement = select(Audit).where(Audit.task_id == task_id).order_by(Audit.id.desc()).limit(limit)
    return session.scalars(statement).all()
