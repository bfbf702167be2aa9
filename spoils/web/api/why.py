"""Why a job does not run."""

from collections.abc import Sequence
from uuid import UUID

from flask import Blueprint, Response

from spoils.models import WAITING, Task, db
from spoils.queue import tasks
from spoils.reports import why_waiting
from spoils.web.api.ids import no_such_job
from spoils.web.api.responses import Reason, WhyWaiting, respond
from spoils.web.openapi import operation

routes = Blueprint("why", __name__, url_prefix="/api/jobs")


@routes.get("/<uuid:task_id>/why")
@operation(WhyWaiting, "The reasons.", errors=(404,))
def show(task_id: UUID) -> Response:
    """Explain why a job does not run.

    The reasons that hold come first. A running job has none.
    """
    row = tasks.find_task(db.session, task_id)
    if row is None:
        no_such_job(task_id)
    return respond(why_of(row, why_waiting.find(db.session, row)))


def why_of(task: Task, reasons: Sequence[why_waiting.Reason]) -> WhyWaiting:
    """The reasons as a response."""
    return WhyWaiting(
        id=task.id,
        state=task.state,
        waits=task.state in WAITING,
        reasons=[Reason(kind=one.kind, holds=one.holds, **one.facts) for one in reasons],
    )
