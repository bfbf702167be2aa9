"""What an entry of the audit log keeps of a task."""

from typing import Any

from sqlalchemy import ColumnElement, func
from sqlalchemy.dialects.postgresql import JSONB

from spoils.models import Task


def facts(of: Any = Task) -> ColumnElement[Any]:
    """What an entry keeps of a task: its state, when it is due, its retries, and whether it was asked to stop."""
    return func.jsonb_build_object(
        "state",
        of.state,
        "scheduled_at",
        of.scheduled_at,
        "retries",
        of.retries,
        "asked_to_stop",
        of.cancel_requested_at.is_not(None),
        type_=JSONB,
    )
