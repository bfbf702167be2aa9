"""Reading jobs: a page of the list, and one job, immediately or once it has ended."""

from typing import Annotated

from flask import Response, abort, request
from flask.typing import ResponseReturnValue
from pydantic import Field

from spoils.models import TaskState, db
from spoils.queue.counts import count_tasks
from spoils.reports import job_list
from spoils.web import paging
from spoils.web.api import bounds, long_polling, responses
from spoils.web.api.arguments import Absent, Arguments, Cursor, Digits, Text
from spoils.web.api.blueprint import routes
from spoils.web.api.ids import no_such_job, task_id_of
from spoils.web.openapi import operation


class ListArguments(Arguments):
    """What `GET /api/jobs` takes."""

    state: TaskState | Absent = None
    """Only jobs in this state."""
    type: Text | Absent = None
    """Only jobs of this task type."""
    older: Cursor | Absent = None
    """The `older` cursor of an earlier response."""
    newer: Cursor | Absent = None
    """The `newer` cursor of an earlier response."""
    limit: Annotated[int, Field(ge=1, le=bounds.LISTED), Digits] = job_list.PAGE
    """The most jobs to return."""


class ShowArguments(Arguments):
    """What `GET /api/jobs/<id>` takes."""

    wait: Annotated[int, Field(ge=0, le=bounds.WAIT_SECONDS), Digits] = 0
    """Seconds to wait for the job to end."""


@routes.get("")
@operation(responses.Page, "A page of the list.", arguments=ListArguments)
def index() -> Response:
    """List jobs.

    The most recently changed first.
    """
    given = ListArguments.of_request()
    if given.older and given.newer:
        abort(400, "Pass either older or newer, not both.")
    page = job_list.Page((), None, None)
    if _exist(given.state, given.type):
        page = job_list.page_of_tasks(
            db.session,
            states=(given.state,) if given.state else tuple(TaskState),
            task_type=given.type,
            older_than=given.older,
            newer_than=given.newer,
            limit=given.limit,
        )
    return responses.respond(
        responses.Page(
            jobs=responses.tasks(db.session, page.tasks, responses.Task),
            older=paging.encode(*page.older) if page.older else None,
            newer=paging.encode(*page.newer) if page.newer else None,
        )
    )


@routes.get("/<task_id>")
@operation(responses.TaskWithAttempts, "The job.", arguments=ShowArguments, errors=(304, 404))
def show(task_id: str) -> ResponseReturnValue:
    """Get a job.

    With `wait` the response is sent once the job has ended, or after that many seconds with the job as it is. If too
    many requests are waiting already, it is sent immediately, with `Retry-After`.
    """
    wanted = task_id_of(task_id)
    given = ShowArguments.of_request()
    row, full = long_polling.until_ended(wanted, given.wait)
    if row is None:
        no_such_job(task_id)
    response = responses.respond(responses.whole_task(db.session, row))
    response.add_etag()
    if full:
        response.headers["Retry-After"] = "1"
    return response.make_conditional(request)


def _exist(state: TaskState | None, task_type: str | None) -> bool:
    # The exact counts save a search through a large table that would find nothing.
    counts = count_tasks(db.session.connection())
    chosen = [of for name, of in counts.items() if task_type in (None, name)]
    return any(of[one] > 0 for of in chosen for one in ([state] if state else TaskState))
