"""The audit log: an action and its entry are one transaction. See `spoils.queue.actions` for those on tasks."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert, or_, select

from spoils.models import Audit, DbSession, Task
from spoils.queue.audit_facts import facts

PAGE = 50


def enter(connection: Connection, verb: str, task_id: UUID, *, who: str, **columns: Any) -> None:
    """Enter one action; part of the connection's transaction. `columns` are others of the table."""
    columns = {"done": True, **{name: value for name, value in columns.items() if value is not None}}
    connection.execute(insert(Audit).values(verb=verb, task_id=task_id, who=who, **columns))


def enter_about(connection: Connection, verb: str, about: str, *, who: str, done: bool) -> None:
    """Enter an action on a type, a schedule or a worker; part of the connection's transaction."""
    connection.execute(insert(Audit).values(verb=verb, about=about, who=who, done=done))


def enter_many(connection: Connection, verb: str, bulk_id: UUID, *, who: str, about: str) -> None:
    """Enter that a bulk action was begun; each of its tasks has an entry of its own beside this one."""
    connection.execute(insert(Audit).values(verb=verb, bulk_id=bulk_id, about=about, who=who, done=True))


def enter_enqueued(connection: Connection, task_id: UUID, *, who: str, again: UUID | None = None) -> None:
    """Enter that `who` enqueued a task by hand, `again` being the one that it repeats."""
    after = connection.scalar(select(facts()).where(Task.id == task_id))
    enter(connection, "enqueue", task_id, who=who, after=after, twin=again)


def page(
    session: DbSession, *, older_than: int | None = None, newer_than: int | None = None, limit: int = PAGE
) -> tuple[Sequence[Audit], bool]:
    """Entries, the last first, and whether there are more that way; a verb on many is one of them."""
    of_many = or_(Audit.task_id.is_(None), Audit.bulk_id.is_(None))
    statement = select(Audit).where(of_many).order_by(Audit.id.desc())
    if older_than is not None:
        statement = statement.where(Audit.id < older_than)
    if newer_than is not None:
        statement = statement.where(Audit.id > newer_than).order_by(None).order_by(Audit.id)
    rows = session.scalars(statement.limit(limit + 1)).all()
    shown = rows[:limit]
    return (shown[::-1] if newer_than is not None else shown), len(rows) > limit


def trail(session: DbSession, task_id: UUID, limit: int = 50) -> Sequence[Audit]:
    """What was done with a task by hand, the last first."""
    statement = select(Audit).where(Audit.task_id == task_id).order_by(Audit.id.desc()).limit(limit)
    return session.scalars(statement).all()
