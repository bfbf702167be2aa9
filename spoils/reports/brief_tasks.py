"""Tasks as a list shows them: what a row may hold is not bounded, and what a list reads is.

A row that psql or another system wrote may have an error or a payload of megabytes: a page of fifty of them would be
hundreds of megabytes in the web process.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, case, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB

from spoils.models import DbSession, Task
from spoils.queue.selection import Selection
from spoils.reports import bulk_actions

LONGEST_ERROR = 12_000
"""Characters of an error that a list reads; our workers store no longer ones."""
LARGEST_PAYLOAD = 64 * 1024
"""Bytes of a payload that a list reads, as JSON text. Of a larger one it reads the type and the size."""
_LARGEST_STORED = 16 * 1024
"""Bytes of a stored, compressed payload whose size is measured at all: to measure is to read it."""


_BOUNDED = ("payload", "error_message", "result", "previous")
_READ_WHOLE = [column.key for column in Task.__mapper__.column_attrs if column.key not in _BOUNDED]


def brief_tasks(session: DbSession, statement: Select[Any], of: Any = Task) -> list[Task]:
    """The tasks that `statement` selects from `of`, with long errors cut. Results and large payloads are left out.

    They belong to no session.
    """
    brief = statement.with_only_columns(
        *[getattr(of, name).label(name) for name in _READ_WHOLE],
        func.left(of.error_message, LONGEST_ERROR).label("error_message"),
        _payload(of.payload).label("payload"),
    )
    return [Task(**row._mapping) for row in session.execute(brief)]


def tasks_by_id(session: DbSession, task_ids: Sequence[UUID]) -> dict[UUID, Task]:
    """Those of these tasks that still exist."""
    return {task.id: task for task in brief_tasks(session, select(Task).where(Task.id.in_(task_ids)))}


def some_of_selection(session: DbSession, selection: Selection, limit: int) -> list[Task]:
    """Up to `limit` tasks of a selection, the last changed first."""
    statement = select(Task).where(Task.id.in_(bulk_actions.some_of(selection, limit)))
    return brief_tasks(session, statement.order_by(Task.updated_at.desc(), Task.id))


def task_by_id(session: DbSession, task_id: UUID) -> Task | None:
    """This task, if it still exists."""
    return tasks_by_id(session, [task_id]).get(task_id)


def _payload(payload: Any) -> ColumnElement[Any]:
    stored = func.pg_column_size(payload)
    too_large = case(
        (stored > _LARGEST_STORED, True), else_=func.octet_length(cast(payload, Text)) > LARGEST_PAYLOAD
    )
    left_out = func.jsonb_build_object("type", payload["type"], "omitted_bytes", stored, type_=JSONB)
    return case((too_large, left_out), else_=payload)
