"""The overview, as its page needs it: how work flowed, what each type does, what comes next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from spoils.job.registry import registry
from spoils.models import WAITING, PauseKind
from spoils.queue import pauses
from spoils.reports import charts, upcoming
from spoils.reports.charts import Sums
from spoils.reports.schedules import all_schedules
from spoils.web.dashboard.overview import charts as throughput
from spoils.web.dashboard.overview.charts import RunTime, Throughput
from spoils.web.dashboard.overview.ranges import HOUR, Range
from spoils.web.dashboard.overview.type_table import Figures, TypeTable, type_table
from spoils.web.dashboard.overview.upcoming import Coming, coming
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.cron_words import describe
from spoils.web.dashboard.shared.query_budget import Patience
from spoils.web.dashboard.shared.status_bar import Strip

DAY = timedelta(hours=24)
CHARTS, TYPES, NEXT = "the charts", "the last day by type", "what comes next"
MOST_TYPES = 200
"""Of so many waiting types what comes next is looked at, the fullest first."""


@dataclass(frozen=True, slots=True)
class JobClass:
    """What this queue can do."""

    task_type: str
    words: str
    policy: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What the page shows; a part that took too long is None and named in `missing`."""

    throughput: Throughput | None
    run_time: RunTime | None
    types: TypeTable | None
    names: tuple[str, ...]
    """The types to choose among for the chart of run time."""
    coming: Coming | None
    missing: tuple[str, ...]
    untouched: bool
    """Whether nothing has ever been enqueued here."""
    classes: tuple[JobClass, ...]


def look_over(
    session: Session, strip: Strip, shown: Range, task_type: str | None, *, everything: bool = False
) -> Overview:
    """The page over the range `shown`, with the run time of `task_type`, else of the busiest type."""
    patience = Patience(session)
    now = strip.now
    day = patience.read(TYPES, lambda: charts.ended_by_type(session, since=now - DAY))
    names = _busiest_first(day or {}, strip)
    chosen = task_type or next(iter(names), None)
    steps = patience.read(
        CHARTS,
        lambda: charts.ended_by_step(session, since=shown.since(now), step=shown.step, buckets_of=chosen),
    )
    hour = (
        steps
        if shown is HOUR
        else patience.read(
            CHARTS, lambda: charts.ended_by_step(session, since=HOUR.since(now), step=HOUR.step)
        )
    )
    later = patience.read(NEXT, lambda: upcoming.later(session, _waiting_types(strip)))
    releases = throughput.releases_of(session, shown, now) if steps else ()
    figures = _figures(strip, day or {}, hour or {}, later or [])
    untouched = not strip.uncounted and not strip.total and not day and not steps
    return Overview(
        throughput=throughput.throughput(steps, shown, releases, now) if steps is not None else None,
        run_time=throughput.run_time(steps, chosen, shown, releases, now) if steps is not None else None,
        types=type_table(strip, figures, everything=everything)
        if day is not None and not strip.uncounted
        else None,
        names=tuple(names),
        coming=_coming(session, strip, later, figures) if later is not None else None,
        missing=(*strip.missing, *patience.missing),
        untouched=untouched,
        classes=_classes() if untouched else (),
    )


def _busiest_first(day: Mapping[str, Sums], strip: Strip) -> list[str]:
    return sorted({*day, *strip.counts}, key=lambda name: (-day.get(name, Sums()).ended, name))


def _waiting_types(strip: Strip) -> list[str]:
    waiting = {name: sum(of[state] for state in WAITING) for name, of in strip.counts.items()}
    return sorted((name for name in waiting if waiting[name]), key=lambda name: -waiting[name])[:MOST_TYPES]


def _coming(session: Session, strip: Strip, later: list[upcoming.Later], figures: Figures) -> Coming:
    paused = pauses.paused(session.connection(), PauseKind.SCHEDULE)
    known = {job_class.__name__: job_class.cron for job_class in registry}
    # A schedule of before the class was changed has no ticks any more.
    schedules = [each for each in all_schedules(session) if known.get(each.job) == each.cron]
    cut = any(figures.is_cut(name) for name in figures.later)
    return coming(schedules, paused, later, strip.now, at_most=figures.most_later if cut else None)


def _figures(
    strip: Strip, day: Mapping[str, Sums], hour: throughput.Steps, later: list[upcoming.Later]
) -> Figures:
    of_type: dict[str, int] = {}
    for each in later:
        of_type[each.task_type] = of_type.get(each.task_type, 0) + each.count
    return Figures(
        day, hour, of_type, HOUR.moments(strip.now), upcoming.most_of_each(len(_waiting_types(strip)))
    )


def _classes() -> tuple[JobClass, ...]:
    found = []
    for job_class in registry:
        words = (job_class.__doc__ or "").strip().partition("\n")[0]
        when = [describe(job_class.cron).lower()] if job_class.cron else []
        unique = ["unique"] if job_class.uniq else []
        retries = (
            "no retry"
            if not job_class.max_retries
            else formats.counted(job_class.max_retries, "retry", "retries")
        )
        found.append(JobClass(job_class.task_type, words, ", ".join([*unique, retries, *when])))
    return tuple(sorted(found, key=lambda each: each.task_type))
