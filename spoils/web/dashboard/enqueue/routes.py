"""Enqueueing by hand: the list of job classes, and the form of one."""

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
from spoils.models import db
from spoils.queue import tasks
from spoils.queue.enqueue import DuplicateVanished
from spoils.web.build_job import InvalidRequest, build_job
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.enqueue.form import form_fields, read_form
from spoils.web.dashboard.enqueue.view import PRIORITIES, EnqueuePage, correction, policy
from spoils.web.dashboard.shared import by_hand
from spoils.web.dashboard.shared.curl import curl_here
from spoils.web.dashboard.shared.flashes import add_flash
from spoils.web.dashboard.shared.job_classes import about, list_job_classes
from spoils.web.dashboard.shared.status_bar import read_status_bar
from spoils.web.datetimes import in_utc

AT, ZONE = "at", "zone"
PREVIEW = "preview"
"""What the button that only shows the curl command sends, and the script that does so as fields are typed."""
PAYLOAD = "payload"


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
) -> str:
    """The form, filled from `given` with the errors `wrong` if it was sent, else from `payload`."""
    shown_again = given is not None
    wrong = wrong or {}
    fields = form_fields(job_class, payload=payload, given=given, wrong=wrong if shown_again else None)
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
    )
    return render_template("enqueue/form.html", bar=bar, page=page, priorities=PRIORITIES)
