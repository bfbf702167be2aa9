"""Schedules: those of job classes, which can only be read and run, and those made at runtime."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from flask import Blueprint, Response, abort, url_for
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from spoils.config import current_settings
from spoils.errors import PayloadError
from spoils.job import Job
from spoils.models import PauseKind, Schedule, db
from spoils.queue import pauses, schedules, tasks
from spoils.queue.schedules import NameTaken, ScheduleRefused
from spoils.reports.schedules import KnownSchedule, known_schedules, problem_of
from spoils.reports.workers import live_workers
from spoils.web.api import body, idempotency, responses, tokens
from spoils.web.api.idempotency import Answer
from spoils.web.api.requests import class_named
from spoils.web.build_job import InvalidRequest, invalid, refuse_unknown
from spoils.web.errors import answer
from spoils.web.openapi import operation
from spoils.web.schedule_requests import read_cron, read_payload, refused

routes = Blueprint("schedules", __name__, url_prefix="/api/schedules")

NEXT = 5
NAME = {"type": "string", "description": "The name of the schedule, or of the job class that has it."}
OF_CODE = "This is the schedule of a job class: change `cron` in the class."
DESCRIBED: dict[str, Any] = {"tag": "Schedules", "errors": (404,), "path": {"name": NAME}}
Text = Annotated[str, Field(min_length=1, max_length=255, strict=True)]


class ScheduleRequest(BaseModel):
    """A schedule to make."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", strict=True)]
    """1 to 100 letters, digits, dots, dashes and underscores."""
    job: Text
    """The name of the job class, its endpoint, or its task type."""
    cron: Text
    """Minute, hour, day of the month, month and day of the week; a sixth field, of seconds, comes first."""
    timezone: Text | None = None
    """A name such as Europe/Berlin; by default that of SPOILS_CRON_TIMEZONE."""
    payload: dict[str, Any] = Field(default_factory=dict)
    """The fields of the class; those that are left out take their defaults at each tick."""
    ping_url: Annotated[str, Field(min_length=1, max_length=2000, strict=True)] | None = None
    """Called after each job of a tick that has finished. Responses show its host only."""


class ScheduleChange(BaseModel):
    """What to change of a schedule; what is left out stays."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    cron: Text | None = None
    """As in ScheduleRequest."""
    timezone: Text | None = None
    """As in ScheduleRequest."""
    payload: dict[str, Any] | None = None
    """Replaces the payload as a whole."""
    ping_url: Annotated[str, Field(min_length=1, max_length=2000, strict=True)] | None = None
    """As in ScheduleRequest; null removes it."""


@routes.get("")
@operation(responses.Schedules, "The schedules.", tag="Schedules")
def index() -> Response:
    """List schedules.

    Those of job classes, those made at runtime, and those that workers of other releases have.
    """
    connection = db.session.connection()
    known = _by_name(connection).values()
    return responses.respond(responses.Schedules(schedules=described(connection, known)))


@routes.post("")
@operation(
    responses.ScheduleDetails,
    "Made.",
    tag="Schedules",
    body={"application/json": ScheduleRequest},
    errors=(409,),
    location=True,
)
def create() -> ResponseReturnValue:
    """Make a schedule.

    Its first tick is the first one after now. Workers learn of it at once.
    """
    _, given = body.json_object()
    refuse_unknown(given, ScheduleRequest, "a schedule")
    try:
        request = ScheduleRequest.model_validate(given)
    except ValidationError as exc:
        raise invalid(exc) from exc
    cron = read_cron(request.cron, request.timezone)
    job = read_payload(_class(request.job), request.payload)

    def make(connection: Connection) -> Answer:
        schedules.create(
            connection,
            name=request.name,
            job=job,
            payload=request.payload,
            cron=cron,
            who=_who(),
            ping_url=request.ping_url,
        )
        location = url_for("api.schedules.show", name=request.name)
        return Answer(200, _one(connection, request.name), location=location)

    return idempotency.once(make)


@routes.get("/<name>")
@operation(responses.ScheduleDetails, "The schedule.", **DESCRIBED)
def show(name: str) -> Response:
    """Get a schedule."""
    return responses.respond(_one(db.session.connection(), name))


@routes.patch("/<name>")
@operation(responses.ScheduleDetails, "Changed.", body={"application/json": ScheduleChange}, **DESCRIBED)
def change(name: str) -> ResponseReturnValue:
    """Change a schedule made at runtime.

    With another cron or time zone it goes on from now: ticks of the past are not enqueued.
    """
    _, given = body.json_object()
    for fixed in ("name", "job"):
        if fixed in given:
            sentence = f"The {fixed} of a schedule cannot be changed: delete it, and make another one."
            raise InvalidRequest(sentence, {fixed: sentence})
    refuse_unknown(given, ScheduleChange, "a change")
    try:
        wanted = ScheduleChange.model_validate(given)
    except ValidationError as exc:
        raise invalid(exc) from exc

    def act(connection: Connection) -> Answer:
        found = _made(connection, name)
        cron = read_cron(wanted.cron or found.cron, wanted.timezone or found.zone)
        job = None if wanted.payload is None else read_payload(_class(found.job_name), wanted.payload)
        schedules.change(
            connection,
            found.id,
            who=_who(),
            cron=cron,
            job=job,
            payload=wanted.payload,
            ping_url=wanted.ping_url if "ping_url" in wanted.model_fields_set else schedules.KEEP,
        )
        return Answer(200, _one(connection, name))

    return idempotency.once(act)


@routes.delete("/<name>")
@operation(responses.ScheduleDeleted, "Deleted.", **DESCRIBED)
def delete(name: str) -> ResponseReturnValue:
    """Delete a schedule made at runtime.

    The jobs that it has enqueued stay.
    """
    body.nothing()

    def act(connection: Connection) -> Answer:
        if schedules.remove(connection, _made(connection, name).id, who=_who()) is None:
            _known(connection, name)
        return Answer(200, responses.ScheduleDeleted(name=name, message=f"Deleted {name}."))

    return idempotency.once(act)


@routes.post("/<name>/pause")
@operation(responses.ScheduleDetails, "Paused.", **DESCRIBED)
def pause(name: str) -> ResponseReturnValue:
    """Pause a schedule.

    Its ticks are skipped until it is resumed. No effect if it is paused already.
    """
    return _act(name, _pause)


@routes.post("/<name>/resume")
@operation(responses.ScheduleDetails, "Resumed.", **DESCRIBED)
def resume(name: str) -> ResponseReturnValue:
    """Resume a schedule.

    It goes on with its next tick. No effect if it is not paused.
    """
    return _act(name, _resume)


@routes.post("/<name>/run-now")
@operation(
    responses.Outcome, "Enqueued, or with `duplicate` an equal unique job exists.", location=True, **DESCRIBED
)
def run_now(name: str) -> ResponseReturnValue:
    """Enqueue the job of a schedule now.

    Its ticks do not change.
    """
    body.nothing()

    def act(connection: Connection) -> Answer:
        known = _known(connection, name)
        if known.runtime and known.stored:
            enqueued = schedules.run_now(connection, known.stored, who=_who())
        elif known.job_class:
            enqueued = schedules.run_class_now(connection, known.job_class, who=_who())
        else:
            raise InvalidRequest(f"This release has no job class {known.job}.")
        location = url_for("api.jobs.show", task_id=enqueued.id)
        return Answer(200, responses.Outcome.model_validate(enqueued), location=location)

    return idempotency.once(act)


@routes.errorhandler(InvalidRequest)
def _invalid(error: InvalidRequest) -> ResponseReturnValue:
    return answer(422, str(error), **({"fields": error.fields} if error.fields else {}))


@routes.errorhandler(PayloadError)
def _unfit(error: PayloadError) -> ResponseReturnValue:
    return answer(422, str(error))


@routes.errorhandler(NameTaken)
def _taken(error: NameTaken) -> ResponseReturnValue:
    return answer(409, str(error))


@routes.errorhandler(ScheduleRefused)
def _refused(error: ScheduleRefused) -> ResponseReturnValue:
    return _invalid(refused(error))


def _act(name: str, act: Callable[[Connection, KnownSchedule], None]) -> ResponseReturnValue:
    body.nothing()

    def acted(connection: Connection) -> Answer:
        act(connection, _known(connection, name))
        return Answer(200, _one(connection, name))

    return idempotency.once(acted)


def _pause(connection: Connection, known: KnownSchedule) -> None:
    if known.runtime and known.stored:
        schedules.pause(connection, known.stored.id, who=_who())
    else:
        schedules.pause_of_class(connection, known.name, who=_who())


def _resume(connection: Connection, known: KnownSchedule) -> None:
    if known.runtime and known.stored:
        schedules.resume(connection, known.stored.id, who=_who())
    else:
        schedules.resume_of_class(connection, known.name, who=_who())


def _who() -> str:
    return tokens.caller().audit_name


def _class(name: str) -> type[Job]:
    try:
        return class_named(name)
    except InvalidRequest as exc:
        # Where the class is a hidden or a base one, that is the reason.
        if (found := schedules.class_anywhere(name)) is not None:
            try:
                schedules.check_class(found)
            except ScheduleRefused as reason:
                raise refused(reason) from exc
        raise InvalidRequest(str(exc), {"job": str(exc)}) from exc


def _made(connection: Connection, name: str) -> Schedule:
    """The schedule made at runtime that has this name. Aborts with 404, or with 422 if it is that of a class."""
    found = schedules.find(connection, name=name)
    if found is None:
        _known(connection, name)
        raise InvalidRequest(OF_CODE)
    return found


def _known(connection: Connection, name: str) -> KnownSchedule:
    found = _by_name(connection).get(name)
    if found is None:
        abort(404, f'There is no schedule "{name[:100]}".')
    return found


def _by_name(connection: Connection) -> dict[str, KnownSchedule]:
    """All schedules; where a class has the name of one made at runtime, the latter."""
    now = tasks.server_now(connection)
    with Session(connection) as session:
        known = list(known_schedules(session, now, default_zone=current_settings().cron_timezone))
        session.expunge_all()
    return {each.name: each for each in sorted(known, key=lambda each: each.runtime)}


def _one(connection: Connection, name: str) -> responses.ScheduleDetails:
    return described(connection, [_known(connection, name)])[0]


def described(connection: Connection, known: Iterable[KnownSchedule]) -> list[responses.ScheduleDetails]:
    """These schedules as responses."""
    now = tasks.server_now(connection)
    paused = pauses.paused(connection, PauseKind.SCHEDULE)
    with Session(connection) as session:
        workers = live_workers(session)
        session.expunge_all()
    found = []
    for each in known:
        stored = each.stored
        paused_at, paused_by = each.pause(paused) or (None, None)
        ticks = each.cron.upcoming(now, NEXT) if each.cron and paused_at is None else []
        found.append(
            responses.ScheduleDetails(
                name=each.name,
                source="runtime" if each.runtime else "code",
                job=each.job,
                cron=each.cron.expression if each.cron else stored.cron if stored else "",
                timezone=each.cron.zone if each.cron else stored.zone if stored else "",
                payload=(stored.payload if stored else None) or {},
                next=ticks,
                paused_at=paused_at,
                paused_by=paused_by,
                made_by=stored.made_by if stored else None,
                ping_url=schedules.host_of(_ping_url(each)),
                problem=problem_of(each, workers) or None,
            )
        )
    return found


def _ping_url(known: KnownSchedule) -> str | None:
    if known.stored is not None and known.runtime:
        return known.stored.ping_url
    return known.job_class.ping_url if known.job_class else None
