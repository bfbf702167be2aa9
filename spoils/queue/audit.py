"""The audit log: an action and its entry are one transaction. See `spoils.queue.actions` for those on tasks."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert, select

from spoils.models import Audit, Task
from spoils.queue.audit_facts import facts


def enter(connection: Connection, verb: str, task_id: UUID, *, who: str, **columns: Any) -> None:
    """Enter one action; part of the connection's transaction. `columns` are others of the table."""
    columns = {"done": True, **{name: value for name, value in columns.items() if value is not None}}
    connection.execute(insert(Audit).values(verb=verb, task_id=task_id, who=who, **columns))


def enter_about(
    connection: Connection, verb: str, about: str, *, who: str, done: bool, **columns: Any
) -> None:
    """Enter an action on a type, a schedule or a worker; part of the connection's transaction. `columns` as above."""
    connection.execute(insert(Audit).values(verb=verb, about=about, who=who, done=done, **columns))


def enter_many(connection: Connection, verb: str, bulk_id: UUID, *, who: str, about: str) -> None:
    """Enter that a bulk action was begun; each of its tasks has an entry of its own beside this one."""
    connection.execute(insert(Audit).values(verb=verb, bulk_id=bulk_id, about=about, who=who, done=True))


def enter_enqueued(
    connection: Connection, task_id: UUID, *, who: str, again: UUID | None = None, about: str | None = None
) -> None:
    """Enter that `who` enqueued a task by hand: a repetition of the task `again`, or a run of the schedule `about`."""
    after = connection.scalar(select(facts()).where(Task.id == task_id))
    enter(connection, "enqueue", task_id, who=who, after=after, twin=again, about=about)
