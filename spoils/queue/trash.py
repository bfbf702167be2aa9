"""Deleted tasks, kept whole for a day, so that a delete can be undone."""

from typing import Any

from sqlalchemy import ColumnElement, func, literal_column
from sqlalchemy.dialects.postgresql import JSONB

from spoils.models import Task


def whole_row() -> ColumnElement[Any]:
    """The whole row of `fang_tasks` as an object, with all columns that were added to it."""
    return func.to_jsonb(literal_column(Task.__tablename__), type_=JSONB).label("task")
