"""The list of jobs, the page of one, and the actions on it."""

from dataclasses import replace
from uuid import UUID

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.models import TaskState, db
from spoils.queue import actions, tasks
from spoils.web.dashboard import access
from spoils.web.dashboard.audit.view import log_of_job
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.jobs.list import list_jobs
from spoils.web.dashboard.jobs.page import show_job
from spoils.web.dashboard.jobs.search import FieldSearch, address_of, read_search, search_field
from spoils.web.dashboard.shared.bulk_actions import actions_on_selected
from spoils.web.dashboard.shared.curl import curl_here
from spoils.web.dashboard.shared.filters import read_filters, read_words
from spoils.web.dashboard.shared.flashes import flash_change
from spoils.web.dashboard.shared.local_path import local_path
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.status_bar import read_status_bar

NOT_FOUND = "There is no job with this id. It was deleted, or it is past its retention."


@bp.get("/jobs")
def jobs() -> ResponseReturnValue:
    """A list of jobs, or the results of a search."""
    search, filters, session = read_search(request.args), read_filters(request.args), db.session()
    if search and isinstance(search, str):
        words = read_words(search)
        filters = replace(
            filters, words=words, state=filters.state or (None if filters.waiting else TaskState.FAILED)
        )
    bar = read_status_bar(session)
    shared = {"bar": bar, "filters": filters, "actions": actions_on_selected(filters)}
    if isinstance(search, FieldSearch):
        return render_template(
            "jobs/search.html", **shared, search=search, results=search_field(session, search, bar)
        )
    if search and (address := QueryBudget(session).read("the id", lambda: address_of(session, search, bar))):
        return redirect(address, 302)
    return render_template("jobs/list.html", **shared, jobs=list_jobs(session, filters, bar))


@bp.get("/jobs/<uuid:task_id>")
def job(task_id: UUID) -> ResponseReturnValue:
    """One job."""
    task = tasks.find_task(db.session(), task_id)
    if task is None:
        return _missing(task_id)
    bar = read_status_bar(db.session())
    return render_template("jobs/page.html", bar=bar, job=show_job(db.session(), task, bar, curl_here))


def _missing(task_id: UUID) -> ResponseReturnValue:
    if not actions.in_trash(db.session.connection(), task_id):
        abort(404, NOT_FOUND)
    audit_log = log_of_job(db.session(), task_id)
    return render_template("jobs/deleted.html", task_id=task_id, audit_log=audit_log), 404


@bp.post("/jobs/<uuid:task_id>/retries")
def retry_job(task_id: UUID) -> ResponseReturnValue:
    """Retry it."""
    return _act("retry", task_id)


@bp.post("/jobs/<uuid:task_id>/runs")
def run_job_now(task_id: UUID) -> ResponseReturnValue:
    """Make it due now."""
    return _act("run_now", task_id)


@bp.post("/jobs/<uuid:task_id>/cancellations")
def cancel_job(task_id: UUID) -> ResponseReturnValue:
    """Cancel it, or ask it to stop if it is running."""
    return _act("cancel", task_id)


@bp.post("/jobs/<uuid:task_id>/deletions")
def delete_job(task_id: UUID) -> ResponseReturnValue:
    """Delete it."""
    return _act("delete", task_id)


@bp.post("/jobs/<uuid:task_id>/restorations")
def restore_job(task_id: UUID) -> ResponseReturnValue:
    """Undo its delete."""
    return _act("restore", task_id)


def _act(action: str, task_id: UUID) -> ResponseReturnValue:
    change = actions.act(db.session.connection(), action, task_id, who=access.who())
    db.session.commit()
    deleted = change.done and action == "delete"
    undo = url_for("dashboard.restore_job", task_id=task_id) if deleted else None
    flash_change(change, None if deleted else task_id, undo=undo)
    back = local_path(request.form.get("back"), url_for("dashboard.jobs"))
    if deleted and back == url_for("dashboard.job", task_id=task_id):
        back = url_for("dashboard.jobs")
    return redirect(back, 303)
