"""Schedules made at runtime: made, changed, paused and deleted by operators and programs, each with an audit entry.

Workers are notified at the commit; without notifications they see a change at their next look, within half a minute.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from spoils.errors import PayloadError, SpoilsError
from spoils.job import Job, wire
from spoils.job.cron import Cron
from spoils.job.ping_url import WRONG, is_ping_url
from spoils.job.registry import registry
from spoils.masking import masked
from spoils.models import PauseKind, Schedule
from spoils.queue import audit, pauses
from spoils.queue.enqueue import Enqueued, enqueue, row
from spoils.queue.release import may_notify
from spoils.queue.ticks import run_missed

CHANNEL = "spoils_schedules"
"""Workers listen on it."""
KEEP = ""
"""In place of a URL: it stays as it is."""
MOST = 1_000
"""More schedules than this are refused: each worker reads all of them at each look."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class ScheduleRefused(SpoilsError, ValueError):
    """The schedule cannot be stored; `field` is the one that has to change, if it is one."""

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


class NameTaken(ScheduleRefused):
    """Another schedule has this name."""


class ChangedMeanwhile(ScheduleRefused):
    """Somebody else has changed the schedule since it was read."""


@dataclass(frozen=True, slots=True)
class RuntimeSchedule:
    """What a worker needs of a schedule to know its ticks; `now` is the database's clock."""

    id: int
    name: str
    job: str
    cron: str
    zone: str
    version: int
    settled_until: datetime
    paused_at: datetime | None
    now: datetime


def create(
    connection: Connection,
    *,
    name: str,
    job: Job,
    payload: Mapping[str, Any],
    cron: Cron,
    who: str,
    ping_url: str | None = None,
) -> Schedule:
    """Make a schedule that enqueues `job`, whose given fields are the `payload`; part of the transaction.

    Its first tick is the first one after now. Raises ScheduleRefused, NameTaken if the name is in use.
    """
    check_name(name)
    check_job(job)
    check_ping_url(ping_url)
    if (connection.scalar(select(func.count(Schedule.name))) or 0) >= MOST:
        raise ScheduleRefused(
            f"There are {MOST:,} schedules made at runtime, which is the most. Delete some."
        )
    statement = (
        insert(Schedule)
        .values(
            name=name,
            runtime_job=type(job).__name__,
            task_type=job.task_type,
            cron=cron.expression,
            zone=cron.zone,
            payload=dict(payload),
            ping_url=ping_url,
            made_by=who,
            settled_until=func.clock_timestamp(),
        )
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(Schedule.id)
    )
    schedule_id = connection.scalar(statement)
    if schedule_id is None:
        raise NameTaken(
            f'A schedule named "{name}" already exists. Choose another name, or change that one.', "name"
        )
    made = _the(connection, schedule_id)
    audit.enter_about(connection, "add schedule", name, who=who, done=True, after=_facts(made))
    _notify(connection)
    return made


def change(
    connection: Connection,
    schedule_id: int,
    *,
    who: str,
    job: Job | None = None,
    payload: Mapping[str, Any] | None = None,
    cron: Cron | None = None,
    ping_url: str | None = KEEP,
    version: int | None = None,
) -> Schedule | None:
    """Change the cron, the payload to that of `job`, or the URL; None if it is gone. Part of the transaction.

    With another cron or zone it goes on from now: ticks of the past are not enqueued. Raises ChangedMeanwhile unless
    `version` is still the schedule's.
    """
    before = _locked(connection, schedule_id)
    if before is None:
        return None
    if version not in (None, before.version):
        raise ChangedMeanwhile(f'"{before.name}" was changed by somebody else meanwhile. Look at it again.')
    changed: dict[str, Any] = {}
    if cron is not None and (cron.expression, cron.zone) != (before.cron, before.zone):
        changed |= {"cron": cron.expression, "zone": cron.zone, "settled_until": func.clock_timestamp()}
    if job is not None:
        check_job(job)
        if dict(payload or {}) != before.payload:
            changed |= {"payload": dict(payload or {}), "task_type": job.task_type}
    if ping_url not in (KEEP, before.ping_url):
        check_ping_url(ping_url)
        changed["ping_url"] = ping_url
    if not changed:
        return before
    _update(connection, schedule_id, version=Schedule.version + 1, **changed)
    after = _the(connection, schedule_id)
    facts = {"before": _facts(before), "after": _facts(after)}
    audit.enter_about(connection, "change schedule", before.label, who=who, done=True, **facts)
    _notify(connection)
    return after


def remove(connection: Connection, schedule_id: int, *, who: str) -> Schedule | None:
    """Delete it with the record of its ticks; its jobs stay. None if it is gone already. Part of the transaction."""
    before = _locked(connection, schedule_id)
    if before is None:
        return None
    connection.execute(delete(Schedule).where(Schedule.id == schedule_id))
    audit.enter_about(connection, "delete schedule", before.label, who=who, done=True, before=_facts(before))
    return before


def pause(connection: Connection, schedule_id: int, *, who: str) -> bool:
    """Skip its ticks from now on; False if it is gone or paused already. Part of the transaction."""
    before = _locked(connection, schedule_id)
    done = before is not None and before.paused_at is None
    if done:
        moment = {"paused_at": func.clock_timestamp(), "paused_by": who}
        _update(connection, schedule_id, version=Schedule.version + 1, **moment)
    if before is not None:
        audit.enter_about(connection, "pause", before.label, who=who, done=done)
        _notify(connection)
    return done


def resume(connection: Connection, schedule_id: int, *, who: str) -> bool:
    """Go on with its next tick; False if it is gone or not paused. Part of the transaction."""
    before = _locked(connection, schedule_id)
    done = before is not None and before.paused_at is not None
    if done:
        # What came due during the pause stays skipped, also where no worker was up to record it.
        now = func.clock_timestamp()
        _update(
            connection,
            schedule_id,
            version=Schedule.version + 1,
            paused_at=None,
            paused_by=None,
            settled_until=now,
        )
    if before is not None:
        audit.enter_about(connection, "resume", before.label, who=who, done=done)
        _notify(connection)
    return done


def run_now(connection: Connection, schedule: Schedule, *, who: str) -> Enqueued:
    """Enqueue its job now; its ticks do not change. Part of the transaction.

    Raises PayloadError where this release cannot make the job, and DuplicateVanished.
    """
    job_class = registry.get(schedule.job_name)
    if job_class is None:
        raise PayloadError(f"This release has no job class {schedule.job_name}.")
    enqueued = enqueue(connection, job_of(job_class, schedule.payload))
    if not enqueued.duplicate:
        audit.enter_enqueued(connection, enqueued.id, who=who, about=schedule.label)
    run_missed(connection, Schedule.id == schedule.id, enqueued.id)
    return enqueued


def run_class_now(connection: Connection, job_class: type[Job], *, who: str) -> Enqueued:
    """Enqueue the job of a class's own schedule now; part of the transaction. Raises DuplicateVanished."""
    enqueued = enqueue(connection, job_class())
    if not enqueued.duplicate:
        audit.enter_enqueued(connection, enqueued.id, who=who, about=job_class.__name__)
    run_missed(connection, Schedule.job == job_class.__name__, enqueued.id)
    return enqueued


def pause_of_class(connection: Connection, job: str, *, who: str) -> bool:
    """Pause the schedule of a job class; False if it is paused already. Part of the transaction."""
    done = pauses.pause(connection, PauseKind.SCHEDULE, job, by=who)
    audit.enter_about(connection, "pause", job, who=who, done=done)
    return done


def resume_of_class(connection: Connection, job: str, *, who: str) -> bool:
    """Resume the schedule of a job class; False if it is not paused. Part of the transaction."""
    done = pauses.resume(connection, PauseKind.SCHEDULE, job)
    audit.enter_about(connection, "resume", job, who=who, done=done)
    return done


def find(connection: Connection, *, name: str) -> Schedule | None:
    """The schedule made at runtime that has this name."""
    return _read(connection, select(Schedule).where(Schedule.name == name))


def get(connection: Connection, schedule_id: int) -> Schedule | None:
    """The schedule made at runtime that has this id."""
    return _read(connection, select(Schedule).where(Schedule.id == schedule_id, Schedule.name.is_not(None)))


def check_name(name: str) -> None:
    """Raises ScheduleRefused where a new schedule cannot have this name."""
    if not _NAME.fullmatch(name):
        raise ScheduleRefused(
            "A name has 1 to 100 letters, digits, dots, dashes and underscores, as in nightly-import.", "name"
        )
    if registry.get(name) is not None:
        raise NameTaken(f'"{name}" is the name of a job class. Choose another name.', "name")


def class_anywhere(name: str) -> type[Job] | None:
    """The class of this name, also one that cannot be scheduled: of the queue's own, or a base class."""
    return registry.get(name) or next((one for one in _subclasses(Job) if one.__name__ == name), None)


def check_class(job_class: type[Job]) -> None:
    """Raises ScheduleRefused where no schedule can be made for the class."""
    name = job_class.__name__
    if job_class.hidden:
        raise ScheduleRefused(f"{name} is the queue's own: it cannot be scheduled.", "job")
    if registry.get(name) is not job_class:
        raise ScheduleRefused(f"{name} is a base class without a `run`: it cannot be scheduled.", "job")


def check_job(job: Job) -> None:
    """Raises ScheduleRefused where the job could not be enqueued."""
    check_class(type(job))
    try:
        row(job, at=None, priority=0, key="")
    except PayloadError as exc:
        raise ScheduleRefused(str(exc), "payload") from exc


def check_ping_url(url: str | None) -> None:
    """Raises ScheduleRefused where the URL cannot be called."""
    if url is not None and not is_ping_url(url):
        raise ScheduleRefused(WRONG, "ping_url")


def job_of(job_class: type[Job], payload: Mapping[str, Any] | None) -> Job:
    """The job that a tick enqueues. Raises PayloadError where this release refuses the payload."""
    return job_class.from_wire(wire.canonical(dict(payload or {})))


def runtime_schedules(connection: Connection) -> Sequence[RuntimeSchedule]:
    """All schedules made at runtime, without their payloads."""
    rows = connection.execute(_ALL)
    return [RuntimeSchedule(**row._mapping) for row in rows]


def locked_payload(connection: Connection, schedule_id: int, version: int) -> Mapping[str, Any] | None:
    """The payload of a schedule, which nobody changes until the transaction ends; None if it is another by now."""
    statement = select(Schedule.payload).where(Schedule.id == schedule_id, Schedule.version == version)
    return connection.scalar(statement.with_for_update(key_share=True))


_ALL = (
    select(
        Schedule.id,
        Schedule.name,
        Schedule.runtime_job.label("job"),
        Schedule.cron,
        Schedule.zone,
        Schedule.version,
        Schedule.settled_until,
        Schedule.paused_at,
        func.clock_timestamp().label("now"),
    )
    .where(Schedule.name.is_not(None))
    .order_by(Schedule.id)
)


def _locked(connection: Connection, schedule_id: int) -> Schedule | None:
    statement = select(Schedule).where(Schedule.id == schedule_id, Schedule.name.is_not(None))
    return _read(connection, statement.with_for_update())


def _the(connection: Connection, schedule_id: int) -> Schedule:
    with Session(connection, expire_on_commit=False) as session:
        found = session.get_one(Schedule, schedule_id)
        session.expunge_all()
    return found


def _read(connection: Connection, statement: Select[Schedule]) -> Schedule | None:
    with Session(connection, expire_on_commit=False) as session:
        found = session.scalar(statement)
        session.expunge_all()
    return found


def _update(connection: Connection, schedule_id: int, **values: Any) -> None:
    connection.execute(update(Schedule).where(Schedule.id == schedule_id).values(**values))


def host_of(url: str | None) -> str | None:
    """What is shown of a URL to ping: who knows it all can call it too."""
    return f"{urlsplit(url).scheme}://{urlsplit(url).hostname}/…" if url else None


def _subclasses(of: type[Job]) -> Iterator[type[Job]]:
    for one in of.__subclasses__():
        yield one
        yield from _subclasses(one)


def _facts(schedule: Schedule) -> dict[str, Any]:
    """What the audit log keeps of it."""
    return {
        "job": schedule.runtime_job,
        "cron": schedule.cron,
        "timezone": schedule.zone,
        "payload": masked(schedule.payload),
        "ping_url": host_of(schedule.ping_url),
    }


def _notify(connection: Connection) -> None:
    connection.execute(select(func.pg_notify(CHANNEL, "")).where(may_notify))
