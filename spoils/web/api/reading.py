"""Looking at jobs: a list of them, and one, at once or when it has ended."""

from flask import abort, jsonify, request
from flask.typing import ResponseReturnValue

from spoils.models import TaskState, db
from spoils.queue import tasks
from spoils.queue.counts import count_tasks
from spoils.reports import job_list
from spoils.web import paging
from spoils.web.api import arguments, bounds, serialize, waiting
from spoils.web.api.blueprint import routes
from spoils.web.api.ids import task_id_of


@routes.get("")
def index() -> ResponseReturnValue:
    """Jobs, the last changed first; `older` and `newer` of an answer are where to go on from."""
    arguments.only(request.args, {"state", "type", "older", "newer", "limit"})
    state = arguments.state(request.args)
    task_type = arguments.text(request.args, "type")
    older, newer = arguments.place(request.args, "older"), arguments.place(request.args, "newer")
    limit = arguments.whole_number(
        request.args, "limit", least=1, most=bounds.LISTED, otherwise=job_list.PAGE
    )
    if older and newer:
        abort(400, "A list goes on to older jobs or to newer ones, not to both.")
    page = job_list.Page((), None, None)
    if _exist(state, task_type):
        page = job_list.page_of_tasks(
            db.session,
            states=(state,) if state else tuple(TaskState),
            task_type=task_type,
            older_than=older,
            newer_than=newer,
            limit=limit,
        )
    return jsonify(
        {
            "jobs": serialize.tasks(db.session, page.tasks),
            "older": paging.encode(*page.older) if page.older else None,
            "newer": paging.encode(*page.newer) if page.newer else None,
        }
    )


@routes.get("/<task_id>")
def show(task_id: str) -> ResponseReturnValue:
    """One task and its attempts that did not finish, the last one first; with `wait`, when it has ended."""
    wanted = task_id_of(task_id)
    arguments.only(request.args, {"wait"})
    seconds = arguments.whole_number(request.args, "wait", least=0, most=bounds.WAIT_SECONDS, otherwise=0)
    row, full = waiting.until_ended(wanted, seconds)
    if row is None:
        abort(404, f"There is no job {task_id}: it was never enqueued, or it was deleted.")
    attempts = [serialize.attempt(one) for one in tasks.attempts_of(db.session, row.id)]
    (job,) = serialize.tasks(db.session, [row])
    response = jsonify({**job, "attempt_log": attempts})
    response.add_etag()
    if full:
        response.headers["Retry-After"] = "1"
    return response.make_conditional(request)


def _exist(state: TaskState | None, task_type: str | None) -> bool:
    """Whether the exact counts know of any: nothing to search a large table for otherwise."""
    counts = count_tasks(db.session.connection())
    chosen = [of for name, of in counts.items() if task_type in (None, name)]
    return any(of[one] > 0 for of in chosen for one in ([state] if state else TaskState))
