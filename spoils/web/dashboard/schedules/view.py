"""The schedules: their next ticks, what happened at the last ones, and the ticks that were late, skipped or missed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.config import current_settings
from spoils.job import Job
from spoils.job.cron import Cron, CronError
from spoils.job.registry import registry
from spoils.models import Pause, PauseKind, Schedule, Task, Tick, TickEnding
from spoils.queue import pauses
from spoils.queue.ticks import PAUSED
from spoils.reports.brief_tasks import tasks_by_id
from spoils.reports.run_times import last_ran_ms
from spoils.reports.schedules import all_schedules, last_ticks, troubled_ticks
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.cron_words import describe
from spoils.web.dashboard.shared.job_classes import about
from spoils.web.dashboard.shared.job_row import named
from spoils.web.dashboard.shared.states import VIEWS, StateView
from spoils.web.dashboard.shared.status_bar import StatusBar

NEXT = 3
LATE_SECONDS = 5.0
SEEN_RECENTLY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TickMark:
    """A past tick: its glyph, a tooltip, and its job if that still exists."""

    glyph: str
    words: str
    task: str | None


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One cron of one class."""

    job: str
    words: str
    cron: str
    zone: str
    task_type: str
    about: str
    next: tuple[formats.Moment, ...]
    ticks: tuple[TickMark, ...]
    last: formats.Moment | None
    last_state: StateView | None
    last_ran: str
    last_task: str | None
    paused: formats.Moment | None
    paused_by: str
    known: bool
    """Whether this release has the class, so that it can be run from here."""


@dataclass(frozen=True, slots=True)
class Irregular:
    """A tick that was late, skipped or missed, and why."""

    tick: formats.Moment
    task_type: str
    glyph: str
    late: str
    why: str
    task: str | None


@dataclass(frozen=True, slots=True)
class SchedulesPage:
    """What the page shows."""

    rows: tuple[ScheduleRow, ...]
    irregular: tuple[Irregular, ...]


def show_schedules(session: Session, bar: StatusBar) -> SchedulesPage:
    """Every schedule of this release, and those that workers of other releases ran within a day."""
    stored = all_schedules(session)
    ticks = {each.id: last_ticks(session, each.id) for each in stored}
    irregular = troubled_ticks(session, late_seconds=LATE_SECONDS)
    ids = [tick.task_id for of in (*ticks.values(), irregular) for tick in of if tick.task_id]
    tasks = tasks_by_id(session, ids)
    last = [task for of in ticks.values() if (task := _last_job(of, tasks))]
    context = _Context(
        now=bar.now,
        paused=pauses.paused(session.connection(), PauseKind.SCHEDULE),
        ticks=ticks,
        tasks=tasks,
        ran_ms=last_ran_ms(session, last),
    )
    types = {each.id: named(each.task_type) for each in stored}
    return SchedulesPage(
        rows=tuple(context.row(*each) for each in _schedules(stored, bar.now)),
        irregular=tuple(
            _irregular(tick, types.get(tick.schedule_id, "–"), tasks, bar.now) for tick in irregular
        ),
    )


def _schedules(
    stored: Sequence[Schedule], now: datetime
) -> Iterator[tuple[Cron, Schedule | None, type[Job] | None]]:
    """Each schedule with its row, if a worker has seen it, and its class, if this release has it."""
    by_key = {(each.job, each.cron, each.zone): each for each in stored}
    for job_class in registry:
        if job_class.cron is not None:
            cron = Cron(job_class.cron, job_class.cron_timezone or current_settings().cron_timezone)
            yield cron, by_key.pop((job_class.__name__, cron.expression, cron.zone), None), job_class
    for each in by_key.values():
        if now - each.seen_at < SEEN_RECENTLY:
            with suppress(CronError):  # a release may know a zone that this one does not
                yield Cron(each.cron, each.zone), each, None


@dataclass(frozen=True, slots=True)
class _Context:
    """What all rows are made from."""

    now: datetime
    paused: Mapping[str, Pause]
    ticks: Mapping[int, Sequence[Tick]]
    tasks: Mapping[UUID, Task]
    ran_ms: Mapping[UUID, float]

    def row(self, cron: Cron, stored: Schedule | None, job_class: type[Job] | None) -> ScheduleRow:
        ticks = self.ticks.get(stored.id, ()) if stored else ()
        last = _last_job(ticks, self.tasks)
        name = job_class.__name__ if job_class else stored.job if stored else ""
        pause = self.paused.get(name)
        return ScheduleRow(
            job=name,
            words=describe(cron.expression),
            cron=cron.expression,
            zone=cron.zone,
            task_type=named(job_class.task_type if job_class else stored.task_type if stored else ""),
            about=about(job_class) if job_class else "",
            next=tuple(formats.moment(tick, self.now) for tick in cron.upcoming(self.now, NEXT)),
            ticks=tuple(_mark(tick, self.tasks, self.now) for tick in reversed(ticks)),
            last=formats.moment(ticks[0].slot, self.now) if ticks else None,
            last_state=VIEWS[last.state] if last else None,
            last_ran=formats.run_time(self.ran_ms.get(last.id)) if last else "–",
            last_task=str(last.id) if last else None,
            paused=formats.moment(pause.paused_at, self.now) if pause else None,
            paused_by=pause.paused_by if pause else "",
            known=job_class is not None,
        )


def _last_job(ticks: Sequence[Tick], tasks: Mapping[UUID, Task]) -> Task | None:
    """The job of the last tick, if that still exists."""
    return tasks.get(ticks[0].task_id) if ticks and ticks[0].task_id else None


def _late(tick: Tick) -> float:
    return (tick.told_at - tick.slot).total_seconds()


def _glyph(tick: Tick) -> str:
    if tick.outcome == TickEnding.ENTERED.value:
        return "late" if _late(tick) > LATE_SECONDS else "fired"
    return tick.outcome


def _mark(tick: Tick, tasks: Mapping[UUID, Task], now: datetime) -> TickMark:
    glyph = _glyph(tick)
    word = {"fired": "fired on time", "late": f"late by {formats.span(_late(tick))}"}.get(glyph, glyph)
    if tick.reason == PAUSED:
        word = "skipped, paused"
    task = str(tick.task_id) if tick.task_id in tasks else None
    return TickMark(glyph, f"{formats.moment(tick.slot, now).full}: {word}", task)


def _irregular(tick: Tick, task_type: str, tasks: Mapping[UUID, Task], now: datetime) -> Irregular:
    glyph = _glyph(tick)
    return Irregular(
        tick=formats.moment(tick.slot, now),
        task_type=task_type,
        glyph=glyph,
        late=formats.span(_late(tick)) if glyph == "late" else "–",
        why=_why(tick, glyph),
        task=str(tick.task_id) if tick.task_id in tasks else None,
    )


def _why(tick: Tick, glyph: str) -> str:
    if tick.reason == PAUSED:
        return "The schedule was paused."
    if glyph == "skipped":
        return "The job of an earlier tick was still waiting or running, and only one is allowed at a time."
    if glyph == "missed":
        return "No worker was running at that time. The tick was not run later."
    return "No worker enqueued it in time: none was running, or the database was slow."
