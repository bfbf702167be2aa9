"""The table by type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from spoils.job.registry import registry
from spoils.models import TaskState
from spoils.reports.attempt_stats import NOTHING, AttemptStats
from spoils.reports.wait_times import Waited
from spoils.web.dashboard.shared import chart, formats
from spoils.web.dashboard.shared.job_row import named
from spoils.web.dashboard.shared.status_bar import RATE_MINUTES, StatusBar

SHOWN = 40


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures by type: attempts of the last day, of the last hour by minute, how long the last jobs waited, and
    jobs that are not due yet.
    """

    day: Mapping[str, AttemptStats]
    hour: Mapping[str, Mapping[datetime, AttemptStats]]
    waited: Mapping[str, Waited]
    not_due: Mapping[str, int]
    minutes: Sequence[datetime]
    """The minutes of the last hour; the last one is not over."""
    most_of_each: int
    """The number of jobs that were read of each type at most."""

    def is_cut(self, name: str) -> bool:
        """Whether more jobs of this type may be not due yet than `not_due` says."""
        return self.not_due.get(name, 0) >= self.most_of_each


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One type, or the row of all types, which has no `spark`."""

    name: str
    filter: str
    paused: bool
    spark: chart.Bars | None
    waiting: str
    later: str
    """How many of the waiting jobs are not due yet."""
    oldest: str
    running: str
    failed: str
    finished: str
    average: str
    p95: str
    waited_p50: str
    waited_p95: str
    share: str
    drain: str


@dataclass(frozen=True, slots=True)
class TypeTable:
    """The busiest types, the row of all types, and the number of types that are not shown."""

    rows: tuple[TypeRow, ...]
    whole: TypeRow | None
    others: int


def type_table(bar: StatusBar, figures: Figures, *, all_types: bool = False) -> TypeTable:
    """A row for each type that has jobs, ran in the last day, or is paused; the busiest first."""
    names = sorted(
        {*bar.counts, *figures.day, *bar.paused},
        key=lambda name: (-figures.day.get(name, NOTHING).ended, -bar.waiting(name), name),
    )
    own = registry.own_types()
    listed = [name for name in names if name not in own]
    shown = names if all_types else listed[:SHOWN]
    return TypeTable(
        rows=tuple(_row(bar, [name], figures) for name in shown),
        # Its counts link to lists that leave out the queue's own jobs.
        whole=_row(bar, listed, figures, whole=True) if len(names) > 1 else None,
        others=len(names) - len(shown),
    )


def _row(bar: StatusBar, names: Sequence[str], figures: Figures, *, whole: bool = False) -> TypeRow:
    name = "" if whole else names[0]
    ended = AttemptStats()
    for each in names:
        ended.add(figures.day.get(each, NOTHING))
    not_due = sum(figures.not_due.get(each, 0) for each in names)
    cut = any(figures.is_cut(each) for each in names)
    paused = not whole and name in bar.paused
    # Percentiles of several types are not those of all.
    waited = figures.waited.get(name, Waited())
    return TypeRow(
        name="All types" if whole else named(name),
        filter=name,
        paused=paused,
        spark=None if whole else _spark(figures, name),
        waiting=formats.number(bar.waiting(*names)),
        later=f"{formats.number(not_due)}{'+' if cut else ''} later" if not_due else "",
        oldest=bar.oldest_of(*names),
        running=formats.number(bar.count(names, TaskState.IN_PROGRESS)),
        failed=formats.number(bar.count(names, TaskState.FAILED)),
        finished=formats.number(ended.finished),
        average=formats.run_time(ended.average_ms),
        p95=formats.run_time(ended.percentile_ms(0.95)),
        waited_p50=formats.run_time(waited.p50_ms),
        waited_p95=formats.run_time(waited.p95_ms),
        share=formats.percent(ended.failed, ended.ended),
        drain="paused" if paused else _drain(bar, names, figures),
    )


def _drain(bar: StatusBar, names: Sequence[str], figures: Figures) -> str:
    """How long the due jobs take at the rate of the last minutes, or why they do not drain."""
    due = {
        name: max(bar.waiting(name) - figures.not_due.get(name, 0), 0)
        for name in names
        if name in bar.due_for
    }
    stuck = {name: why for name in due if (why := _stuck(bar, name))}
    if stuck and len(names) == 1:
        return stuck[names[0]]
    if stuck:
        return formats.plural(len(stuck), "type does not drain", "types do not drain")
    if not due:
        return "–"
    outlook = bar.outlook(names[0]) if len(names) == 1 else None
    if outlook and outlook.clears_in_seconds is not None:
        return formats.span(max(outlook.clears_in_seconds, 1))
    ended = sum(bar.ended_recently(name) for name in due)
    # Of a type that is cut, more jobs may be not due than is known.
    at_most = "at most " if any(figures.is_cut(name) for name in due) else ""
    return at_most + formats.span(max(sum(due.values()) / ended * bar.recent_minutes * 60, 1))


def _stuck(bar: StatusBar, name: str) -> str:
    if name in bar.paused:
        return "paused"
    if name not in bar.taken:
        return "no worker performs it"
    outlook = bar.outlook(name)
    if outlook and outlook.clears_in_seconds is None:
        return outlook.sentence
    return "" if bar.ended_recently(name) else f"none ended in {RATE_MINUTES} min"


def _spark(figures: Figures, name: str) -> chart.Bars:
    of = figures.hour.get(name, {})
    sums = [of.get(moment, NOTHING) for moment in figures.minutes]
    return chart.spark([each.failed for each in sums], [each.finished for each in sums])
