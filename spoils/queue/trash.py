"""Deleted tasks, and edited ones as they were, kept whole for a day, so that it can be undone."""

from typing import Any

from sqlalchemy import ColumnElement, cast, func, literal_column
from sqlalchemy.dialects.postgresql import JSONB

from spoils.models import Task, Trash

EDITED = cast({"edited": True}, JSONB)
"""What marks the row of a task that was edited, and not deleted."""


def whole_row() -> ColumnElement[Any]:
    """The whole row of `fang_tasks` as an object, with all columns that were added to it."""
    return func.to_jsonb(literal_column(Task.__tablename__), type_=JSONB).label("task")


def is_edit(trash: Any = Trash) -> ColumnElement[bool]:
    """Whether it is the row of an edited task."""
    return trash.task.has_key("edited")  # type: ignore[no-any-return]
