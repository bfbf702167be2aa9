"""The schedules: their next ticks, what happened at the last ones, and the ticks that were late, skipped or missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.config import current_settings
from spoils.models import Pause, PauseKind, Task, Tick, TickEnding, Worker
from spoils.queue import pauses
from spoils.queue.ticks import PAUSED
from spoils.reports.brief_tasks import tasks_by_id
from spoils.reports.run_times import last_ran_ms
from spoils.reports.schedules import (
    KnownSchedule,
    known_schedules,
    last_ticks,
    problem_of,
    troubled_ticks,
)
from spoils.reports.workers import live_workers
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.cron_words import describe
from spoils.web.dashboard.shared.job_classes import about
from spoils.web.dashboard.shared.job_row import Pair, named, summary
from spoils.web.dashboard.shared.states import VIEWS, StateView
from spoils.web.dashboard.shared.status_bar import StatusBar

NEXT = 3
PAGE = 100
LATE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TickMark:
    """A past tick: its glyph, a tooltip, and its job if that still exists."""

    glyph: str
    words: str
    task: str | None


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule. One made at runtime has an `id` and a `name`."""

    id: int | None
    name: str
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
    payload: tuple[Pair, ...]
    problem: str
    """Why its ticks wait, if they do."""


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
    placed: bool
    """Whether it is not the first page."""
    after: str | None
    """The name after which the next page begins, if there is one."""


def show_schedules(session: Session, bar: StatusBar, after: str | None = None) -> SchedulesPage:
    """Every schedule of this release, those made at runtime, and those that other releases ran within a day.

    Of those made at runtime the first `PAGE` by name, or those `after` a name and no others.
    """
    every = list(known_schedules(session, bar.now, default_zone=current_settings().cron_timezone))
    made = [each for each in every if each.runtime and each.name > (after or "")]
    of_classes = [each for each in every if not each.runtime and after is None]
    known = [*of_classes, *made[:PAGE]]
    ticks = last_ticks(session, [each.stored.id for each in known if each.stored])
    irregular = troubled_ticks(session, late_seconds=LATE_SECONDS)
    task_ids = [tick.task_id for of in (*ticks.values(), irregular) for tick in of if tick.task_id]
    tasks = tasks_by_id(session, task_ids)
    last = [task for of in ticks.values() if (task := _last_job(of, tasks))]
    context = _Context(
        now=bar.now,
        paused=pauses.paused(session.connection(), PauseKind.SCHEDULE),
        ticks=ticks,
        tasks=tasks,
        ran_ms=last_ran_ms(session, last),
        workers=live_workers(session),
    )
    names = {each.stored.id: _name(each) for each in every if each.stored}
    return SchedulesPage(
        rows=tuple(context.row(each) for each in known),
        irregular=tuple(
            _irregular(tick, names.get(tick.schedule_id, "–"), tasks, bar.now) for tick in irregular
        ),
        placed=after is not None,
        after=made[PAGE - 1].name if len(made) > PAGE else None,
    )


def _name(known: KnownSchedule) -> str:
    return known.name if known.runtime else named(known.task_type)


@dataclass(frozen=True, slots=True)
class _Context:
    """What all rows are made from."""

    now: datetime
    paused: Mapping[str, Pause]
    ticks: Mapping[int, Sequence[Tick]]
    tasks: Mapping[UUID, Task]
    ran_ms: Mapping[UUID, float]
    workers: Sequence[Worker]

    def row(self, known: KnownSchedule) -> ScheduleRow:
        stored, cron = known.stored, known.cron
        expression = cron.expression if cron else stored.cron if stored else ""
        ticks = self.ticks.get(stored.id, ()) if stored else ()
        last = _last_job(ticks, self.tasks)
        paused_at, paused_by = known.pause(self.paused) or (None, "")
        coming = cron.upcoming(self.now, NEXT) if cron else ()
        payload = stored.payload if stored and known.runtime else None
        return ScheduleRow(
            id=stored.id if stored and known.runtime else None,
            name=known.name,
            job=known.job,
            words=describe(expression),
            cron=expression,
            zone=cron.zone if cron else stored.zone if stored else "",
            task_type=named(known.task_type),
            about=about(known.job_class) if known.job_class else "",
            next=tuple(formats.moment(tick, self.now) for tick in coming),
            ticks=tuple(_mark(tick, self.tasks, self.now) for tick in reversed(ticks)),
            last=formats.moment(ticks[0].slot, self.now) if ticks else None,
            last_state=VIEWS[last.state] if last else None,
            last_ran=formats.run_time(self.ran_ms.get(last.id)) if last else "–",
            last_task=str(last.id) if last else None,
            paused=formats.moment(paused_at, self.now),
            paused_by=paused_by,
            known=known.job_class is not None,
            payload=summary(payload) if payload else (),
            problem=problem_of(known, self.workers),
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
        return "No worker that could run it was up at that time. The tick was not run later."
    return "No worker enqueued it in time: none was running, or the database was slow."
