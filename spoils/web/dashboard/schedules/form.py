"""The form of a schedule made at runtime: its name, cron and zone, the fields of its class, and a preview."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from spoils.config import current_settings
from spoils.job import Job
from spoils.job.cron import Cron
from spoils.models import Schedule
from spoils.queue.schedules import ScheduleRefused, check_ping_url, host_of
from spoils.web.build_job import InvalidRequest
from spoils.web.dashboard.enqueue.form import Field, form_fields, read_form, secret_names
from spoils.web.dashboard.enqueue.view import correction
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.cron_words import describe
from spoils.web.dashboard.shared.job_classes import about
from spoils.web.schedule_requests import read_cron, read_payload

NEXT = 5
OWN = ("name", "cron", "timezone", "ping_url")
"""The fields of a schedule itself, with the ids of their inputs."""
KEPT = "This is a secret and is not shown. Leave it empty to keep it."
PING = "Called after each job of a tick that has finished, for a monitor that alerts without the call."
REMOVE = "-"
_CATCH_UP = {
    "skip": "Ticks missed while no worker was running are not run later.",
    "once": "Of the ticks missed while no worker was running, one is run.",
    "all": "Ticks missed while no worker was running are run later.",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schedule as a form asks for it; `wrong` has a message for each field to correct."""

    name: str
    cron: Cron | None
    job: Job | None
    payload: Mapping[str, Any]
    ping_url: str | None
    """Empty where the form leaves it as it is."""
    wrong: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Preview:
    """The cron in words, and its next ticks: the time of day in its zone, and when that is."""

    words: str
    next: tuple[tuple[str, formats.Moment], ...]


@dataclass(frozen=True, slots=True)
class FormPage:
    """What the page shows. One that exists has an `id` and a `version`."""

    id: int | None
    version: int
    endpoint: str
    task_type: str
    job: str
    about: str
    name: str
    cron: str
    timezone: str
    default_zone: str
    ping_url: str
    ping_hint: str
    fields: tuple[Field, ...]
    wrong: Mapping[str, str]
    summary: str
    preview: Preview | None
    policy: tuple[tuple[str, str], ...]


def read_schedule(job_class: type[Job], given: Mapping[str, str], stored: Schedule | None = None) -> Wanted:
    """What a form that was sent asks for. A secret of `stored` that the form left empty stays."""
    payload, wrong = read_form(job_class, given)
    before = (stored.payload if stored else None) or {}
    for name in secret_names(before) & set(job_class.model_fields):
        if not given.get(f"field.{name}"):
            payload[name] = before[name]
            wrong.pop(name, None)
    cron: Cron | None = None
    job: Job | None = None
    own: dict[str, str] = {}
    try:
        if not given.get("cron", "").strip():
            raise InvalidRequest("", {"cron": "This field is required."})
        cron = read_cron(given["cron"], given.get("timezone"))
    except InvalidRequest as exc:
        own |= exc.fields
    try:
        job = read_payload(job_class, payload)
    except InvalidRequest as exc:
        for path, message in (exc.fields or {"payload": str(exc)}).items():
            wrong.setdefault(path.partition(".")[0], message)
    url = given.get("ping_url", "").strip()
    ping_url = None if url == REMOVE or not (url or stored) else url
    try:
        check_ping_url(ping_url or None)
    except ScheduleRefused as exc:
        own["ping_url"] = str(exc)
    return Wanted(given.get("name", "").strip(), cron, job, payload, ping_url, {**own, **_of_fields(wrong)})


def show_form(
    job_class: type[Job],
    now: datetime,
    *,
    stored: Schedule | None = None,
    given: Mapping[str, str] | None = None,
    cron: Cron | None = None,
    wrong: Mapping[str, str] | None = None,
) -> FormPage:
    """The form, as it was sent (`given`), or of the schedule that is `stored`, or empty."""
    of_class = {name.removeprefix("field."): text for name, text in (wrong or {}).items() if name not in OWN}
    fields = form_fields(
        job_class,
        payload=stored.payload if stored else None,
        given=given,
        wrong=of_class if given is not None else None,
        withheld=KEPT if stored else "This is a secret and is not shown again. Enter it again.",
    )
    zone = current_settings().cron_timezone
    texts = given or {
        "name": stored.label if stored else "",
        "cron": stored.cron if stored else "",
        "timezone": stored.zone if stored else zone,
    }
    return FormPage(
        id=stored.id if stored else None,
        version=stored.version if stored else 0,
        endpoint=job_class.endpoint,
        task_type=job_class.task_type,
        job=job_class.__name__,
        about=about(job_class),
        name=stored.label if stored else texts.get("name", ""),
        cron=texts.get("cron", ""),
        timezone=texts.get("timezone", ""),
        default_zone=zone,
        ping_url=texts.get("ping_url", ""),
        ping_hint=PING + (_pinged_now(stored.ping_url) if stored else " Optional."),
        fields=fields,
        wrong=wrong or {},
        summary=(wrong or {}).get("", "") or (correction(wrong) if wrong else ""),
        preview=_preview(cron, now) if cron else None,
        policy=_policy(job_class),
    )


def _pinged_now(url: str | None) -> str:
    # Who knows the URL can call it too, and viewers see this page.
    return (
        f" Now {host_of(url)}. Leave it empty to keep it, or enter - to remove it." if url else " Optional."
    )


def _of_fields(wrong: Mapping[str, str]) -> dict[str, str]:
    # A field of the class may have the name of one of the schedule's own.
    return {f"field.{name}": message for name, message in wrong.items()}


def _preview(cron: Cron, now: datetime) -> Preview:
    zone = ZoneInfo(cron.zone)
    ticks = cron.upcoming(now, NEXT)
    return Preview(
        describe(cron.expression),
        tuple((_wall(tick.astimezone(zone)), formats.moment(tick, now)) for tick in ticks),
    )


def _wall(moment: datetime) -> str:
    return f"{moment:%a} {moment.day} {moment:%b %Y, %H:%M:%S}"


def _policy(job_class: type[Job]) -> tuple[tuple[str, str], ...]:
    alone = job_class.uniq or job_class.overlap is False
    overlap = (
        "A tick is skipped while the job of an earlier one waits or runs."
        if alone
        else "A tick is enqueued even if the job of an earlier one still waits or runs."
    )
    return (
        ("Class", job_class.__name__),
        ("Missed ticks", _CATCH_UP[job_class.catch_up]),
        ("Overlap", overlap),
    )
