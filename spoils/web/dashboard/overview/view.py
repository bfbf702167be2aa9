"""The overview: the charts, the table by type, and what is due in the next 24 hours."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from spoils.config import current_settings
from spoils.models import PauseKind
from spoils.queue import pauses
from spoils.reports import upcoming
from spoils.reports.attempt_stats import NOTHING, AttemptStats
from spoils.reports.charts import ended_by_step, ended_by_type
from spoils.reports.schedules import known_schedules, problem_of
from spoils.reports.wait_times import waited_by_type
from spoils.reports.workers import live_workers
from spoils.web.dashboard.overview.charts import RunTime, Steps, Throughput, draw_run_time, draw_throughput
from spoils.web.dashboard.overview.charts import releases as releases_in
from spoils.web.dashboard.overview.ranges import HOUR, Range
from spoils.web.dashboard.overview.type_table import Figures, TypeTable, type_table
from spoils.web.dashboard.overview.upcoming import Upcoming, show_upcoming
from spoils.web.dashboard.shared.job_classes import ClassRow, list_job_classes
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.status_bar import StatusBar

DAY = timedelta(hours=24)
CHARTS, TYPES, UPCOMING = "the charts", "the last day by type", "the next 24 hours"
WAITED = "the waiting times"
MOST_TYPES = 200
"""The number of types that upcoming jobs are read of, those with the most waiting jobs."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What the page shows; a part that took too long is None and named in `missing`."""

    throughput: Throughput | None
    run_time: RunTime | None
    types: TypeTable | None
    names: tuple[str, ...]
    """The types to choose from for the run time chart."""
    upcoming: Upcoming | None
    missing: tuple[str, ...]
    unused: bool
    """Whether nothing has ever been enqueued here."""
    classes: tuple[ClassRow, ...]


def show_overview(
    session: Session, bar: StatusBar, shown: Range, task_type: str | None, *, all_types: bool = False
) -> Overview:
    """The page over the range `shown`, with the run time of `task_type`, or else of the busiest type."""
    budget = QueryBudget(session)
    now = bar.now
    day = budget.read(TYPES, lambda: ended_by_type(session, since=now - DAY))
    names = _busiest_first(day or {}, bar)
    chosen = task_type or next(iter(names), None)
    steps = budget.read(
        CHARTS, lambda: ended_by_step(session, since=shown.since(now), step=shown.step, buckets_of=chosen)
    )
    hour: Steps | None = steps
    if shown is not HOUR:
        hour = budget.read(CHARTS, lambda: ended_by_step(session, since=HOUR.since(now), step=HOUR.step))
    waited = budget.read(WAITED, lambda: waited_by_type(session, since=now - DAY)) or {}
    waiting = _fullest_types(bar)
    later = budget.read(UPCOMING, lambda: upcoming.later(session, waiting))
    releases = releases_in(session, shown, now) if steps else ()
    figures = Figures(
        day or {},
        hour or {},
        waited,
        _not_due(later or []),
        HOUR.moments(now),
        upcoming.most_of_each(len(waiting)),
    )
    unused = not bar.uncounted and not bar.total and not day and not steps
    return Overview(
        throughput=None if steps is None else draw_throughput(steps, shown, releases, now),
        run_time=None
        if steps is None
        else draw_run_time(steps, chosen, shown, releases, now, waited=waited.get(chosen or "")),
        types=None if day is None or bar.uncounted else type_table(bar, figures, all_types=all_types),
        names=tuple(names),
        upcoming=None if later is None else _upcoming(session, bar, later, figures),
        missing=(*bar.missing, *budget.missing),
        unused=unused,
        classes=list_job_classes() if unused else (),
    )


def _busiest_first(day: Mapping[str, AttemptStats], bar: StatusBar) -> list[str]:
    return sorted({*day, *bar.counts}, key=lambda name: (-day.get(name, NOTHING).ended, name))


def _fullest_types(bar: StatusBar) -> list[str]:
    waiting = {name: bar.waiting(name) for name in bar.counts}
    return sorted((name for name in waiting if waiting[name]), key=lambda name: -waiting[name])[:MOST_TYPES]


def _not_due(later: list[upcoming.Later]) -> dict[str, int]:
    not_due: dict[str, int] = {}
    for each in later:
        not_due[each.task_type] = not_due.get(each.task_type, 0) + each.count
    return not_due


def _upcoming(session: Session, bar: StatusBar, later: list[upcoming.Later], figures: Figures) -> Upcoming:
    paused = pauses.paused(session.connection(), PauseKind.SCHEDULE)
    workers = live_workers(session)
    # Schedules from before a class was changed have no ticks any more, and those of other releases are not known.
    schedules = [
        each.stored
        for each in known_schedules(session, bar.now, default_zone=current_settings().cron_timezone)
        if each.stored and each.job_class and not each.pause(paused) and not problem_of(each, workers)
    ]
    cut = any(figures.is_cut(name) for name in figures.not_due)
    return show_upcoming(schedules, later, bar.now, at_most=figures.most_of_each if cut else None)
