"""The pages of jobs, and the verbs on one."""

from uuid import UUID

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.models import db
from spoils.queue import actions, tasks
from spoils.web.dashboard import access
from spoils.web.dashboard.audit.view import show_trail
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.bulk.progress import offer
from spoils.web.dashboard.jobs.list import find_jobs, list_jobs
from spoils.web.dashboard.jobs.page import show_job
from spoils.web.dashboard.shared import status_bar as strip
from spoils.web.dashboard.shared.curl import curl_here
from spoils.web.dashboard.shared.filters import read_filters, read_search
from spoils.web.dashboard.shared.flashes import say
from spoils.web.dashboard.shared.local_path import local_path


@bp.get("/jobs")
def jobs() -> ResponseReturnValue:
    """A list of jobs, or what a search found."""
    search = read_search(request.args)
    if isinstance(search, UUID):
        return redirect(url_for("dashboard.job", task_id=search), 302)
    filters = read_filters(request.args)
    seen = strip.look(db.session())
    if search:
        found = find_jobs(db.session(), search, filters, seen)
        verbs = offer(filters, 0).selected
        return render_template(
            "jobs/found.html", strip=seen, search=search, filters=filters, found=found, verbs=verbs
        )
    jobs_page = list_jobs(db.session(), filters, seen)
    return render_template("jobs/index.html", strip=seen, filters=filters, jobs=jobs_page)


@bp.get("/jobs/<uuid:task_id>")
def job(task_id: UUID) -> ResponseReturnValue:
    """One job."""
    task = tasks.find_task(db.session(), task_id)
    if task is None:
        return _gone(task_id)
    seen = strip.look(db.session())
    page = show_job(db.session(), task, seen, curl_here)
    return render_template("jobs/show.html", strip=seen, job=page)


def _gone(task_id: UUID) -> ResponseReturnValue:
    sentence = "There is no job of this id. It was deleted, or it is older than the retention keeps."
    if not actions.in_trash(db.session.connection(), task_id):
        abort(404, sentence)
    page = render_template("jobs/deleted.html", task_id=task_id, trail=show_trail(db.session(), task_id))
    return page, 404


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
    """Cancel it, or ask it to stop."""
    return _act("cancel", task_id)


@bp.post("/jobs/<uuid:task_id>/deletions")
def delete_job(task_id: UUID) -> ResponseReturnValue:
    """Delete it."""
    return _act("delete", task_id)


@bp.post("/jobs/<uuid:task_id>/restorations")
def restore_job(task_id: UUID) -> ResponseReturnValue:
    """Undo its delete."""
    return _act("restore", task_id)


def _act(verb: str, task_id: UUID) -> ResponseReturnValue:
    change = actions.act(db.session.connection(), verb, task_id, who=access.who())
    db.session.commit()
    gone = change.done and verb == "delete"
    linked = change.duplicate or (None if gone else task_id)
    say(
        "done" if change.done else "refused",
        change.sentence,
        linked,
        twin=change.duplicate is not None,
        undo=url_for("dashboard.restore_job", task_id=task_id) if gone else None,
    )
    here = url_for("dashboard.job", task_id=task_id)
    back = local_path(request.form.get("back"), url_for("dashboard.jobs"))
    return redirect(url_for("dashboard.jobs") if gone and back == here else back, 303)
