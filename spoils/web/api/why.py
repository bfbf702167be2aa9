"""Why a task does not run, for programs."""

from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, abort, jsonify
from flask.typing import ResponseReturnValue

from spoils.models import WAITING, db
from spoils.queue import tasks
from spoils.reports import why_waiting
from spoils.web.api.serialize import moment

routes = Blueprint("why", __name__, url_prefix="/api/jobs")


@routes.get("/<uuid:task_id>/why")
def show(task_id: UUID) -> ResponseReturnValue:
    """The reasons, those that hold first; none for a task that runs."""
    row = tasks.find_task(db.session, task_id)
    if row is None:
        abort(404, f"There is no job {task_id}: it was never enqueued, or it was deleted.")
    reasons = why_waiting.find(db.session, row)
    return jsonify(
        {
            "id": str(row.id),
            "state": row.state.value,
            "waits": row.state in WAITING,
            "reasons": [
                {
                    "kind": one.kind,
                    "holds": one.holds,
                    **{key: _plain(value) for key, value in one.facts.items()},
                }
                for one in reasons
            ],
        }
    )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    return str(value) if isinstance(value, UUID) else value
