"""The schedules, as their page needs them."""

from collections.abc import Mapping, Sequence
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
from spoils.web.dashboard.shared.job_row import named
from spoils.web.dashboard.shared.states import VIEWS, StateView
from spoils.web.dashboard.shared.status_bar import Strip

NEXT = 3
LATE_SECONDS = 5.0
SEEN_LATELY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TickMark:
    """What became of a slot: a glyph, its words, and the job where that still exists."""

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
    purpose: str
    next: tuple[formats.Moment | None, ...]
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
class Trouble:
    """A tick that did not go to plan, and why."""

    slot: formats.Moment | None
    task_type: str
    glyph: str
    late: str
    why: str
    task: str | None


@dataclass(frozen=True, slots=True)
class Schedules:
    """What the page shows."""

    rows: tuple[ScheduleRow, ...]
    troubles: tuple[Trouble, ...]


def show_schedules(session: Session, strip: Strip) -> Schedules:
    """The page: every class that has a cron here, and what workers of other releases have run within a day."""
    stored = list(all_schedules(session))
    own = [(job_class, _cron(job_class)) for job_class in registry if job_class.cron is not None]
    by_key = {(each.job, each.cron, each.zone): each for each in stored}
    paused = pauses.paused(session.connection(), PauseKind.SCHEDULE)
    keys = {(job_class.__name__, cron.expression, cron.zone) for job_class, cron in own}
    others = [
        each for key, each in by_key.items() if key not in keys and strip.now - each.seen_at < SEEN_LATELY
    ]
    ticks = {each.id: last_ticks(session, each.id) for each in stored}
    troubled = troubled_ticks(session, late_seconds=LATE_SECONDS)
    ids = [tick.task_id for of in (*ticks.values(), troubled) for tick in of if tick.task_id]
    tasks = tasks_by_id(session, ids)
    rows: list[_Named] = [
        (job_class.__name__, cron, by_key.get((job_class.__name__, cron.expression, cron.zone)), job_class)
        for job_class, cron in own
    ]
    rows += [(each.job, cron, each, None) for each in others if (cron := _parsed(each)) is not None]
    last = [task for of in ticks.values() if (task := _last(of, tasks))]
    seen = _Seen(strip.now, paused, ticks, tasks, last_ran_ms(session, last))
    return Schedules(
        rows=tuple(seen.row(*row) for row in rows),
        troubles=tuple(_trouble(tick, stored, tasks, strip.now) for tick in troubled),
    )


def job_of(name: str) -> type[Job] | None:
    """The class of that name, where it has a cron."""
    job_class = registry.get(name)
    return job_class if job_class is not None and job_class.cron is not None else None


_Named = tuple[str, Cron, Schedule | None, type[Job] | None]


def _parsed(stored: Schedule) -> Cron | None:
    try:
        return Cron(stored.cron, stored.zone)
    except CronError:
        return None  # of a release that knew this zone


def _cron(job_class: type[Job]) -> Cron:
    return Cron(job_class.cron or "", job_class.cron_timezone or current_settings().cron_timezone)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What rows are made from."""

    now: datetime
    paused: Mapping[str, Pause]
    ticks: Mapping[int, Sequence[Tick]]
    tasks: Mapping[UUID, Task]
    ran_ms: Mapping[UUID, float]

    def row(self, name: str, cron: Cron, stored: Schedule | None, job_class: type[Job] | None) -> ScheduleRow:
        ticks = self.ticks.get(stored.id, ()) if stored else ()
        last = _last(ticks, self.tasks)
        pause = self.paused.get(name)
        return ScheduleRow(
            job=name,
            words=describe(cron.expression),
            cron=cron.expression,
            zone=cron.zone,
            task_type=named(job_class.task_type if job_class else stored.task_type if stored else name),
            purpose=((job_class.__doc__ or "") if job_class else "").strip().partition("\n")[0],
            next=tuple(formats.moment(slot, self.now) for slot in cron.upcoming(self.now, NEXT)),
            ticks=tuple(_mark(tick, self.tasks, self.now) for tick in reversed(ticks)),
            last=formats.moment(ticks[0].slot, self.now) if ticks else None,
            last_state=VIEWS[last.state] if last else None,
            last_ran=formats.run_time(self.ran_ms.get(last.id)) if last else "–",
            last_task=str(last.id) if last else None,
            paused=formats.moment(pause.paused_at, self.now) if pause else None,
            paused_by=pause.paused_by if pause else "",
            known=job_class is not None,
        )


def _last(ticks: Sequence[Tick], tasks: Mapping[UUID, Task]) -> Task | None:
    """The job of the last tick, where that still exists."""
    return tasks.get(ticks[0].task_id) if ticks and ticks[0].task_id else None


def _late(tick: Tick) -> float:
    return (tick.told_at - tick.slot).total_seconds()


def _glyph(tick: Tick) -> str:
    if tick.outcome == TickEnding.ENTERED.value:
        return "late" if _late(tick) > LATE_SECONDS else "fired"
    return tick.outcome


def _mark(tick: Tick, tasks: Mapping[UUID, Task], now: datetime) -> TickMark:
    slot = formats.moment(tick.slot, now)
    glyph = _glyph(tick)
    word = {"fired": "fired on time", "late": f"late by {formats.span(_late(tick))}"}.get(glyph, glyph)
    if tick.reason == PAUSED:
        word = "skipped, paused"
    task = str(tick.task_id) if tick.task_id in tasks else None
    return TickMark(glyph, f"{slot.full if slot else ''}: {word}", task)


def _trouble(tick: Tick, stored: Sequence[Schedule], tasks: Mapping[UUID, Task], now: datetime) -> Trouble:
    schedule = next((each for each in stored if each.id == tick.schedule_id), None)
    glyph = _glyph(tick)
    return Trouble(
        slot=formats.moment(tick.slot, now),
        task_type=named(schedule.task_type) if schedule else "–",
        glyph=glyph,
        late=formats.span(_late(tick)) if glyph == "late" else "–",
        why=_why(tick, glyph),
        task=str(tick.task_id) if tick.task_id in tasks else None,
    )


def _why(tick: Tick, glyph: str) -> str:
    if tick.reason == PAUSED:
        return "The schedule was paused."
    if glyph == "skipped":
        return "The job of an earlier tick still waited or ran, and there may be one at a time."
    if glyph == "missed":
        return "No worker was live at its time. A missed tick isn't made up for: the next one does its work."
    return "No worker entered it in time: none was live, or the database was slow."
