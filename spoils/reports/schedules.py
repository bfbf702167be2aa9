"""Schedules, and the outcomes of their ticks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from sqlalchemy import DateTime, func, literal, or_, select, true
from sqlalchemy.orm import aliased

from spoils.errors import PayloadError
from spoils.job import Job
from spoils.job.cron import Cron, CronError
from spoils.job.registry import registry
from spoils.models import DbSession, Pause, Schedule, Task, Tick, TickEnding, Worker
from spoils.queue.schedules import MOST, job_of

LATELY = 2000
SEEN_RECENTLY = timedelta(days=1)
AN_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class KnownSchedule:
    """A schedule of a class or one made at runtime: its row, if there is one, and its class, if this release has it.

    `cron` is None where this release cannot read it.
    """

    cron: Cron | None
    stored: Schedule | None
    job_class: type[Job] | None

    @property
    def runtime(self) -> bool:
        """Whether it was made at runtime, so that it can be changed."""
        return self.stored is not None and self.stored.name is not None

    @property
    def name(self) -> str:
        """Its name, or the class whose own schedule it is."""
        return self.stored.label if self.stored else self.job

    @property
    def job(self) -> str:
        """The name of its class."""
        if self.job_class:
            return self.job_class.__name__
        return self.stored.job_name if self.stored else ""

    @property
    def task_type(self) -> str:
        """The task type of its jobs."""
        if self.job_class:
            return self.job_class.task_type
        return self.stored.task_type if self.stored else ""

    def pause(self, paused: Mapping[str, Pause]) -> tuple[datetime, str] | None:
        """Since when it is paused and by whom; `paused` are the pauses of classes' schedules."""
        if self.runtime and self.stored and self.stored.paused_at:
            return self.stored.paused_at, self.stored.paused_by or ""
        pause = None if self.runtime else paused.get(self.name)
        return (pause.paused_at, pause.paused_by) if pause else None


def known_schedules(
    session: DbSession, now: datetime, *, default_zone: str, seen_within: timedelta = SEEN_RECENTLY
) -> Iterator[KnownSchedule]:
    """Those of this release's classes, those made at runtime by name, and those that other releases ran lately."""
    stored = all_schedules(session)
    of_classes = {(each.job, each.cron, each.zone): each for each in stored if each.name is None}
    for job_class in registry:
        if job_class.cron is not None:
            cron = Cron(job_class.cron, job_class.cron_timezone or default_zone)
            row = of_classes.pop((job_class.__name__, cron.expression, cron.zone), None)
            yield KnownSchedule(cron, row, job_class)
    for each in sorted((each for each in stored if each.name is not None), key=lambda each: each.label):
        yield KnownSchedule(read_cron(each), each, registry.get(each.job_name))
    for each in of_classes.values():
        if now - each.seen_at < seen_within and (found := read_cron(each)) is not None:
            yield KnownSchedule(found, each, None)


def problem_of(known: KnownSchedule, workers: Sequence[Worker]) -> str:
    """Why the ticks of a schedule made at runtime wait; empty if they do not. `workers` are the running ones."""
    if not known.runtime or known.stored is None:
        return ""
    if known.cron is None:
        return f"This release cannot read its cron: {_wrong_cron(known.stored)}"
    if workers and not any(one.job_classes is None or known.job in one.job_classes for one in workers):
        return f"No running worker has the job class {known.job}. Its ticks wait until one does."
    if known.job_class is None:
        return "" if workers else f"This release has no job class {known.job}."
    try:
        job_of(known.job_class, known.stored.payload)
    except PayloadError as exc:
        return f"Its ticks wait, because this release refuses its payload. {exc}"
    return ""


def all_schedules(session: DbSession) -> Sequence[Schedule]:
    """Every schedule that a worker has known, by class, and those made at runtime."""
    return session.scalars(select(Schedule).order_by(Schedule.job, Schedule.id)).all()


def last_ticks(
    session: DbSession, schedule_ids: Sequence[int], limit: int = 14
) -> Mapping[int, Sequence[Tick]]:
    """The last recorded ticks of each of these schedules, newest first."""
    few = (
        select(Tick)
        .where(Tick.schedule_id == Schedule.id)
        .order_by(Tick.slot.desc())
        .limit(limit)
        .correlate(Schedule)
        .lateral("few")
    )
    tick = aliased(Tick, few)
    found: dict[int, list[Tick]] = {schedule_id: [] for schedule_id in schedule_ids}
    statement = select(tick).select_from(Schedule).join(few, true()).where(Schedule.id.in_(schedule_ids))
    for one in session.scalars(statement.order_by(tick.schedule_id, tick.slot.desc())):
        found[one.schedule_id].append(one)
    return found


def troubled_ticks(
    session: DbSession, *, late_seconds: float, within: int = LATELY, limit: int = 20
) -> Sequence[Tick]:
    """Of the last `within` ticks of all schedules those that were skipped, missed or late, the last one first."""
    recent = select(Tick).order_by(Tick.slot.desc()).limit(within).subquery()
    tick = aliased(Tick, recent)
    late = tick.told_at - tick.slot > func.make_interval(0, 0, 0, 0, 0, 0, late_seconds)
    statement = (
        select(tick)
        .where(or_(tick.outcome != TickEnding.ENTERED.value, late))
        .order_by(tick.slot.desc(), tick.schedule_id)
        .limit(limit)
    )
    return session.scalars(statement).all()


def tick_of(session: DbSession, task: Task) -> tuple[Schedule, Tick] | None:
    """The schedule and the tick that enqueued a task, if the tick was at most an hour late."""
    # By the index of moments: there is none of tasks. The server reckons, which knows moments that Python does not.
    created_at = literal(task.created_at, DateTime(timezone=True))
    near = (created_at - AN_HOUR, created_at + AN_HOUR)
    statement = (
        select(Schedule, Tick)
        .join(Tick, Tick.schedule_id == Schedule.id)
        .where(Tick.slot.between(*near), Tick.task_id == task.id, Tick.outcome == TickEnding.ENTERED.value)
    )
    row = session.execute(statement.limit(1)).one_or_none()
    return (row[0], row[1]) if row else None


def read_cron(schedule: Schedule) -> Cron | None:
    """The cron of a row, or None where this release cannot read it."""
    try:
        return _cron(schedule.cron, schedule.zone)
    except CronError:
        return None  # a release may know a zone that this one does not


@lru_cache(maxsize=2 * MOST)
def _cron(expression: str, zone: str) -> Cron:
    return Cron(expression, zone)


def _wrong_cron(schedule: Schedule) -> str:
    try:
        Cron(schedule.cron, schedule.zone)
    except CronError as exc:
        return str(exc)
    return ""
