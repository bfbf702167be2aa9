"""Enqueueing by hand and editing: the list of job classes, and the form of one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.config import current_settings
from spoils.errors import PayloadError
from spoils.job import Job
from spoils.job.registry import registry
from spoils.models import WAITING, Task, TaskState, db
from spoils.queue import tasks
from spoils.queue.edits import ONLY, edit, revert
from spoils.queue.enqueue import DuplicateVanished
from spoils.web.build_job import InvalidRequest, build_job
from spoils.web.dashboard import access
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.enqueue.form import form_fields, read_form, secret_names
from spoils.web.dashboard.enqueue.view import PRIORITIES, EnqueuePage, correction, policy
from spoils.web.dashboard.shared import by_hand
from spoils.web.dashboard.shared.curl import curl_here
from spoils.web.dashboard.shared.flashes import add_flash, flash_change
from spoils.web.dashboard.shared.job_classes import about, list_job_classes
from spoils.web.dashboard.shared.job_row import class_of
from spoils.web.dashboard.shared.status_bar import read_status_bar
from spoils.web.datetimes import in_utc

AT, ZONE = "at", "zone"
PREVIEW = "preview"
"""What the button that only shows the curl command sends, and the script that does so as fields are typed."""
PAYLOAD = "payload"
EDITABLE = (*WAITING, TaskState.FAILED)
KEPT = "This is a secret. Leave it empty to keep it."


@bp.get("/enqueue")
def enqueue_classes() -> ResponseReturnValue:
    """The list of job classes."""
    bar = read_status_bar(db.session())
    return render_template("enqueue/index.html", bar=bar, classes=list_job_classes())


@bp.get("/enqueue/<name>")
def enqueue_form(name: str) -> ResponseReturnValue:
    """The form of one class, filled with the payload of the job that `again` names."""
    job_class = _class(name)
    again = _again(request.args.get("again"))
    return _form(job_class, _payload_of(again, job_class), again)


@bp.post("/enqueue/<name>")
def enqueue_job(name: str) -> ResponseReturnValue:
    """Enqueue it, or show the form again: with an error beside each wrong field, or for a preview with its command."""
    job_class = _class(name)
    given = request.form.to_dict()
    payload, wrong = read_form(job_class, given)
    again = _again(given.get("again"))
    if PREVIEW in given:
        return _form(job_class, payload, again, given=given)
    at = _moment(given, wrong)
    job = _job(job_class, payload, wrong)
    if job is None or wrong:
        return _form(job_class, payload, again, given=given, wrong=wrong), 422
    try:
        enqueued = by_hand.enqueue_job(job, at=at, priority=int(_priority(given)), again=again)
    except (PayloadError, DuplicateVanished) as exc:
        return _form(job_class, payload, again, given=given, wrong={PAYLOAD: str(exc)}), 422
    if enqueued.duplicate:
        add_flash("refused", "The same unique job already exists.")
    else:
        add_flash("done", f"Enqueued {job.task_type}.")
    return redirect(url_for("dashboard.job", task_id=enqueued.id), 303)


@bp.get("/jobs/<uuid:task_id>/edit")
def edit_form(task_id: UUID) -> ResponseReturnValue:
    """The form of the job's class, filled with its payload."""
    task = _editable(task_id)
    if task is None:
        return redirect(url_for("dashboard.job", task_id=task_id), 303)
    return _edit_form(task, task.payload)


@bp.post("/jobs/<uuid:task_id>/edits")
def edit_job(task_id: UUID) -> ResponseReturnValue:
    """Change the payload, and retry the job if it has failed; or show the form again with its errors."""
    task = _editable(task_id)
    job_page = url_for("dashboard.job", task_id=task_id)
    if task is None:
        return redirect(job_page, 303)
    job_class = _class_to_edit(task)
    given = request.form.to_dict()
    payload, wrong = read_form(job_class, given)
    kept = {name: task.payload[name] for name in secret_names(task.payload) if name in job_class.model_fields}
    payload = {**kept, **payload}
    # An empty secret is one that was not entered again.
    payload |= {name: value for name, value in kept.items() if payload[name] == ""}
    wrong = {
        name: sentence for name, sentence in wrong.items() if name not in kept or given.get(f"field.{name}")
    }
    job = _job(job_class, payload, wrong)
    if job is None or wrong:
        return _edit_form(task, payload, given=given, wrong=wrong), 422
    (change,) = edit(db.session.connection(), lambda _: job.to_wire(), [task_id], who=access.who())
    db.session.commit()
    undo = url_for("dashboard.revert_job", task_id=task_id) if change.done else None
    flash_change(change, task_id, undo=undo)
    return redirect(job_page, 303)


@bp.post("/jobs/<uuid:task_id>/reversions")
def revert_job(task_id: UUID) -> ResponseReturnValue:
    """Undo the last edit of the job."""
    (change,) = revert(db.session.connection(), [task_id], who=access.who())
    db.session.commit()
    flash_change(change, task_id)
    return redirect(url_for("dashboard.job", task_id=task_id), 303)


def _editable(task_id: UUID) -> Task | None:
    """The job; None, with a message, where its state allows no edit."""
    task = tasks.find_task(db.session(), task_id)
    if task is None:
        abort(404, "There is no job with this id.")
    if task.state not in EDITABLE:
        add_flash("refused", f"Refused: the job is {task.state.value.replace('_', ' ')}. {ONLY}.")
        return None
    _class_to_edit(task)
    return task


def _class_to_edit(task: Task) -> type[Job]:
    job_class = class_of(task)
    if job_class is None or job_class.hidden:
        abort(404, "This program has no class of the job's name, so there is no form.")
    return job_class


def _edit_form(
    task: Task,
    payload: Mapping[str, Any],
    *,
    given: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
) -> str:
    return _form(_class_to_edit(task), payload, None, given=given, wrong=wrong, edits=task)


def _class(endpoint: str) -> type[Job]:
    job_class = registry.at_endpoint(endpoint)
    if job_class is None:
        abort(404, "There is no job class with this name.")
    return job_class


def _again(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


def _payload_of(task_id: UUID | None, job_class: type[Job]) -> Mapping[str, Any]:
    task = tasks.find_task(db.session(), task_id) if task_id else None
    payload = task.payload if task else None
    fits = isinstance(payload, dict) and payload.get("type") == job_class.__name__
    return payload if fits and isinstance(payload, dict) else {}


def _moment(given: Mapping[str, str], wrong: dict[str, str]) -> datetime | None:
    """The time before which the job is not due, in the time zone that the page names."""
    text = given.get(AT, "").strip()
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        wrong[AT] = "Enter a date and a time, such as 2026-11-24T18:00."
        return None
    if not 2000 <= moment.year <= 9000:
        wrong[AT] = "The year must be between 2000 and 9000."
        return None
    return in_utc(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(_zone(given))))


def _zone(given: Mapping[str, str]) -> str:
    """The time zone of the browser, which a script enters; without one, that of schedules."""
    try:
        return ZoneInfo(given.get(ZONE) or "").key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return current_settings().cron_timezone


def _priority(given: Mapping[str, str]) -> str:
    text = given.get("priority", "0")
    return text if text in PRIORITIES else "0"


def _job(job_class: type[Job], payload: dict[str, Any], wrong: dict[str, str]) -> Job | None:
    try:
        return build_job(job_class, payload)
    except InvalidRequest as exc:
        for path, message in (exc.fields or {PAYLOAD: str(exc)}).items():
            wrong.setdefault(path.partition(".")[0], message)
    return None


def _form(
    job_class: type[Job],
    payload: Mapping[str, Any],
    again: UUID | None,
    *,
    given: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
    edits: Task | None = None,
) -> str:
    """The form, filled from `given` with the errors `wrong` if it was sent, else from `payload`."""
    shown_again = given is not None
    wrong = wrong or {}
    withheld = {"withheld": KEPT} if edits else {}
    fields = form_fields(
        job_class, payload=payload, given=given, wrong=wrong if shown_again else None, **withheld
    )
    bar = read_status_bar(db.session())
    given = given or {}
    # An error of the payload as a whole belongs to no field.
    whole = wrong.get(PAYLOAD, "") if all(each.name != PAYLOAD for each in fields) else ""
    page = EnqueuePage(
        endpoint=job_class.endpoint,
        task_type=job_class.task_type,
        about=about(job_class),
        fields=fields,
        policy=policy(job_class, bar),
        at=given.get(AT, ""),
        at_wrong=wrong.get(AT, ""),
        zone=_zone(given),
        priority=_priority(given),
        wrong=whole or (correction(wrong) if wrong else ""),
        curl=curl_here(job_class, payload),
        again=str(again) if again else None,
        edits=str(edits.id) if edits else None,
        retries=edits is not None and edits.state is TaskState.FAILED,
    )
    return render_template("enqueue/form.html", bar=bar, page=page, priorities=PRIORITIES)
