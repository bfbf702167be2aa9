"""Enqueueing by hand: every class, and the form of one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.config import current_settings
from spoils.errors import PayloadError
from spoils.job import Job
from spoils.job.registry import registry
from spoils.models import db
from spoils.queue import tasks
from spoils.queue.enqueue import DuplicateVanished
from spoils.web.dashboard import access
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.enqueue import form as schema_form
from spoils.web.dashboard.enqueue import view as enqueue_view
from spoils.web.dashboard.shared import status_bar as strip
from spoils.web.dashboard.shared.curl import curl_here
from spoils.web.dashboard.shared.flashes import say
from spoils.web.datetimes import in_utc
from spoils.web.enqueue_by_hand import InvalidRequest, build_job, enqueue_by_hand

AT = "at"
PAYLOAD = "payload"
NOT_A_MOMENT = "A day and a time are needed, as 2026-11-24T18:00."


@bp.get("/enqueue")
def enqueue_classes() -> ResponseReturnValue:
    """Every job class."""
    return render_template(
        "enqueue/index.html", strip=strip.look(db.session()), classes=enqueue_view.classes()
    )


@bp.get("/enqueue/<name>")
def enqueue_form(name: str) -> ResponseReturnValue:
    """The form of one class; `again` names a job whose payload fills it."""
    job_class = _class(name)
    again = _again(request.args.get("again"))
    payload = _payload_of(again, job_class)
    return _form(job_class, schema_form.fields(job_class, payload=payload), payload or {}, again=again)


@bp.post("/enqueue/<name>")
def enqueue_job(name: str) -> ResponseReturnValue:
    """Enqueue it, or show the form again with what is wrong beside each field."""
    job_class = _class(name)
    given = request.form.to_dict()
    filled = schema_form.read(job_class, given)
    wrong = dict(filled.wrong)
    at = _moment(given, wrong)
    job = _job(job_class, filled.payload, wrong)
    again = _again(given.get("again"))
    if job is None or wrong:
        return _refused(job_class, given, filled.payload, wrong, again), 422
    connection = db.session.connection()
    try:
        enqueued = enqueue_by_hand(
            connection, job, who=access.who(), at=at, priority=_priority(given), repeats=again
        )
    except (PayloadError, DuplicateVanished) as exc:
        return _refused(job_class, given, filled.payload, {PAYLOAD: str(exc)}, again), 422
    db.session.commit()
    twin = enqueued.duplicate
    words = "The same unique job is already there." if twin else f"Enqueued {job.task_type}."
    say("refused" if twin else "done", words)
    return redirect(url_for("dashboard.job", task_id=enqueued.id), 303)


def _class(endpoint: str) -> type[Job]:
    job_class = registry.at_endpoint(endpoint)
    if job_class is None:
        abort(404, "There is no job class of this name.")
    return job_class


def _again(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


def _payload_of(task_id: UUID | None, job_class: type[Job]) -> Mapping[str, Any] | None:
    task = tasks.find_task(db.session(), task_id) if task_id else None
    payload = task.payload if task else None
    fits = isinstance(payload, dict) and payload.get("type") == job_class.__name__
    return payload if fits and isinstance(payload, dict) else None


def _moment(given: Mapping[str, str], wrong: dict[str, str]) -> datetime | None:
    """The moment before which it is not due, in the zone that the page names."""
    text = given.get(AT, "").strip()
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        wrong[AT] = NOT_A_MOMENT
        return None
    if not 2000 <= moment.year <= 9000:
        wrong[AT] = "The year is to be from 2000 to 9000."
        return None
    return in_utc(
        moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(current_settings().cron_timezone))
    )


def _priority(given: Mapping[str, str]) -> int:
    text = given.get("priority", "0")
    return int(text) if text in dict(enqueue_view.PRIORITIES) else 0


def _job(job_class: type[Job], payload: dict[str, Any], wrong: dict[str, str]) -> Job | None:
    try:
        return build_job(job_class, payload)
    except InvalidRequest as exc:
        for path, message in (exc.fields or {PAYLOAD: str(exc)}).items():
            wrong.setdefault(path.partition(".")[0], message)
    return None


def _refused(
    job_class: type[Job],
    given: Mapping[str, str],
    payload: Mapping[str, Any],
    wrong: Mapping[str, str],
    again: UUID | None,
) -> str:
    fields = schema_form.fields(job_class, given=given, wrong=wrong)
    return _form(job_class, fields, payload, given=given, wrong=wrong, again=again)


def _form(
    job_class: type[Job],
    fields: tuple[schema_form.Field, ...],
    payload: Mapping[str, Any],
    *,
    given: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
    again: UUID | None = None,
) -> str:
    seen = strip.look(db.session())
    given, wrong = given or {}, wrong or {}
    marked = tuple(each for each in fields if each.wrong)
    whole = [wrong[PAYLOAD]] if PAYLOAD in wrong and not any(each.name == PAYLOAD for each in fields) else []
    page = enqueue_view.EnqueuePage(
        endpoint=job_class.endpoint,
        task_type=job_class.task_type,
        about=enqueue_view.about(job_class),
        fields=fields,
        policy=enqueue_view.policy(job_class, seen),
        at=given.get(AT, ""),
        at_wrong=wrong.get(AT, ""),
        zone=current_settings().cron_timezone,
        priority=str(_priority(given)),
        priorities=enqueue_view.PRIORITIES,
        wrong=" ".join(whole) or (enqueue_view.correction(wrong) if wrong else ""),
        wrong_fields=marked,
        curl=curl_here(job_class, payload),
        again=str(again) if again else None,
    )
    return render_template("enqueue/show.html", strip=seen, page=page)
