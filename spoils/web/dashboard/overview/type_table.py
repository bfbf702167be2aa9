"""The table by type on the overview."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from spoils.models import WAITING, TaskState
from spoils.reports.charts import Sums
from spoils.web.dashboard.shared import chart, formats
from spoils.web.dashboard.shared.job_row import named
from spoils.web.dashboard.shared.status_bar import RATE_MINUTES, Strip

SHOWN = 40

Hour = Mapping[datetime, Sums]


@dataclass(frozen=True, slots=True)
class Figures:
    """What the table is made of, by type: the last day, the last hour by minute, and what is not due yet."""

    day: Mapping[str, Sums]
    hour: Mapping[str, Hour]
    later: Mapping[str, int]
    minutes: Sequence[datetime]
    """Those of the last hour; the last one is not over."""
    most_later: int
    """From this many of a type on there may be more that were not looked at."""

    def is_cut(self, name: str) -> bool:
        """Whether more of this type may be not due yet than `later` says."""
        return self.later.get(name, 0) >= self.most_later


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One type, or all of them where `name` is empty."""

    name: str
    filter: str
    paused: bool
    spark: chart.Bars | None
    waiting: str
    later: str
    """How many of them are not due yet."""
    oldest: str
    running: str
    failed: str
    finished: str
    average: str
    p95: str
    share: str
    drain: str


@dataclass(frozen=True, slots=True)
class TypeTable:
    """The busiest types, and how many more there are."""

    rows: tuple[TypeRow, ...]
    whole: TypeRow | None
    others: int


def type_table(strip: Strip, figures: Figures, *, everything: bool = False) -> TypeTable:
    """Rows of every type that has tasks, ran in the last day, or is paused; the busiest first."""
    names = sorted(
        {*strip.counts, *figures.day, *strip.paused},
        key=lambda name: (-figures.day.get(name, Sums()).ended, -_waiting(strip, [name]), name),
    )
    shown = names if everything else names[:SHOWN]
    return TypeTable(
        rows=tuple(_row(strip, [name], name, figures) for name in shown),
        whole=_row(strip, names, None, figures) if len(names) > 1 else None,
        others=len(names) - len(shown),
    )


def _row(strip: Strip, names: Sequence[str], name: str | None, figures: Figures) -> TypeRow:
    day, hour, later = figures.day, figures.hour, figures.later
    waiting = _waiting(strip, names)
    ahead = sum(later.get(each, 0) for each in names)
    cut = any(figures.is_cut(each) for each in names)
    ended = Sums()
    for each in names:
        ended.add(day.get(each, Sums()))
    ages = [strip.due_for[each] for each in names if each in strip.due_for]
    oldest = formats.coarse(max(ages)) if ages else None
    paused = name is not None and name in strip.paused
    return TypeRow(
        name=named(name) if name is not None else "",
        filter=name or "",
        paused=paused,
        spark=_spark(hour.get(name, {}), figures.minutes) if name is not None else None,
        waiting=formats.number(waiting),
        later=f"{formats.number(ahead)}{'+' if cut else ''} later" if ahead else "",
        oldest=f"{oldest.number} {oldest.unit}".strip() if oldest else "–",
        running=formats.number(_standing(strip, names, TaskState.IN_PROGRESS)),
        failed=formats.number(_standing(strip, names, TaskState.FAILED)),
        finished=formats.number(ended.finished),
        average=formats.run_time(ended.average_ms),
        p95=formats.run_time(ended.percentile_ms(0.95)),
        share=formats.percent(ended.failed, ended.ended),
        drain="paused" if paused else _drain(strip, names, figures),
    )


def _waiting(strip: Strip, names: Sequence[str]) -> int:
    return sum(_standing(strip, names, state) for state in WAITING)


def _standing(strip: Strip, names: Sequence[str], state: TaskState) -> int:
    return sum(strip.counts[name][state] for name in names if name in strip.counts)


def _drain(strip: Strip, names: Sequence[str], figures: Figures) -> str:
    """How long what is due takes at the rate of the last whole minutes, or why it does not end."""
    due = {
        name: max(_waiting(strip, [name]) - figures.later.get(name, 0), 0)
        for name in names
        if name in strip.due_for
    }
    ended = {name: _ended_lately(name, figures) for name in due}
    stuck = {name: why for name in due if (why := _stuck(strip, name, ended[name]))}
    if stuck and len(names) == 1:
        return stuck[names[0]]
    if stuck:
        return formats.counted(len(stuck), "type does not drain", "types do not drain")
    if not due:
        return "–"
    # Of a type that is cut more may be not due than is known.
    at_most = "at most " if any(figures.is_cut(name) for name in due) else ""
    return at_most + formats.span(max(sum(due.values()) / sum(ended.values()) * RATE_MINUTES * 60, 1))


def _stuck(strip: Strip, name: str, ended: int) -> str:
    if name in strip.paused:
        return "paused"
    if name not in strip.taken:
        return "no worker takes it"
    return "" if ended else f"none ended in {RATE_MINUTES} min"


def _ended_lately(name: str, figures: Figures) -> int:
    this_minute = figures.minutes[-1]
    since = this_minute - timedelta(minutes=RATE_MINUTES)
    lately = figures.hour.get(name, {}).items()
    return sum(sums.ended for moment, sums in lately if since <= moment < this_minute)


def _spark(of: Hour, minutes: Sequence[datetime]) -> chart.Bars:
    if not of:
        return chart.Bars("", "", "", "")
    sums = [of.get(moment, Sums()) for moment in minutes]
    return chart.spark([each.failed for each in sums], [each.finished for each in sums])
