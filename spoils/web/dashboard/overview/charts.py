"""The two charts: attempts per minute, and the run time of one type. `shared/chart.py` turns numbers into paths."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from spoils.reports import workers
from spoils.reports.attempt_stats import AttemptStats
from spoils.reports.wait_times import Waited
from spoils.web.dashboard.overview.ranges import Range
from spoils.web.dashboard.shared import chart, formats

Steps = Mapping[str, Mapping[datetime, AttemptStats]]
LINES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@dataclass(frozen=True, slots=True)
class Release:
    """When the first worker of a release started, in per cent of the axis."""

    at: float
    name: str
    moment: formats.Moment


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of a step, for the table that screen readers get in place of a chart."""

    moment: formats.Moment
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Throughput:
    """Finished and failed attempts per minute."""

    finished: str
    failed: str
    bars: chart.Bars
    hits: tuple[chart.Hit, ...]
    x_marks: tuple[chart.Mark, ...]
    y_marks: tuple[chart.Mark, ...]
    releases: tuple[Release, ...]
    rows: tuple[Row, ...]
    empty: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One percentile: its path, and its value over the whole range."""

    name: str
    path: str
    whole: str


@dataclass(frozen=True, slots=True)
class RunTime:
    """Percentiles of the run time of all attempts of one type."""

    task_type: str | None
    lines: tuple[Line, ...]
    x_marks: tuple[chart.Mark, ...]
    y_marks: tuple[chart.Mark, ...]
    releases: tuple[Release, ...]
    rows: tuple[Row, ...]
    waited: tuple[tuple[str, str], ...]
    """Percentiles of the time that its jobs waited."""


def draw_throughput(steps: Steps, shown: Range, releases: Sequence[Release], now: datetime) -> Throughput:
    """The chart of the attempts of all types."""
    minutes = shown.step.total_seconds() / 60
    whole = [_sum(of.get(moment) for of in steps.values()) for moment in shown.moments(now)]
    failed = [each.failed / minutes for each in whole]
    finished = [each.finished / minutes for each in whole]
    top, step = chart.nice_top(max(low + high for low, high in zip(failed, finished, strict=True)))
    moments = [formats.moment(moment, now) for moment in shown.moments(now)]
    width = chart.WIDTH / shown.steps
    return Throughput(
        finished=formats.number(sum(each.finished for each in whole)),
        failed=formats.number(sum(each.failed for each in whole)),
        bars=chart.bars(failed, finished, top),
        hits=tuple(
            chart.Hit(round(at * width), round(width), _title(moment, sums))
            for at, (moment, sums) in enumerate(zip(moments, whole, strict=True))
            if sums.ended
        ),
        x_marks=shown.marks(now),
        y_marks=tuple(
            chart.Mark(round(100 - at * step / top * 100, 2), formats.compact(at * step))
            for at in range(round(top / step) + 1)
        ),
        releases=tuple(releases),
        rows=tuple(
            Row(moment, (formats.number(sums.finished), formats.number(sums.failed)))
            for moment, sums in zip(moments, whole, strict=True)
            if sums.ended
        ),
        empty=not any(each.ended for each in whole),
    )


def draw_run_time(
    steps: Steps,
    task_type: str | None,
    shown: Range,
    releases: Sequence[Release],
    now: datetime,
    *,
    waited: Waited | None = None,
) -> RunTime:
    """The chart of the percentiles of `task_type`; without lines if none of its jobs ran."""
    of = steps.get(task_type, {}) if task_type else {}
    moments = shown.moments(now)
    values = {
        name: [
            sums.percentile_ms(share) if (sums := of.get(moment)) is not None else None for moment in moments
        ]
        for name, share in LINES
    }
    known = [each for of_line in values.values() for each in of_line if each is not None]
    marks = chart.log_marks(min(known), max(known)) if known else []
    whole = _sum(of.values())
    return RunTime(
        task_type=task_type,
        lines=tuple(
            Line(name, chart.line(values[name], marks), formats.run_time(whole.percentile_ms(share)))
            for name, share in LINES
        )
        if known
        else (),
        x_marks=shown.marks(now),
        y_marks=tuple(
            chart.Mark(round(chart.log_height(each, marks) / chart.HEIGHT * 100, 2), formats.short_time(each))
            for each in marks
        ),
        releases=tuple(releases) if known else (),
        rows=tuple(
            Row(formats.moment(moment, now), tuple(formats.run_time(values[name][at]) for name, _ in LINES))
            for at, moment in enumerate(moments)
            if values["p50"][at] is not None
        ),
        waited=(("p50", formats.run_time(waited.p50_ms)), ("p95", formats.run_time(waited.p95_ms)))
        if waited
        else (),
    )


def releases(session: Session, shown: Range, now: datetime) -> tuple[Release, ...]:
    """The last three releases whose first worker started within the range."""
    return tuple(
        Release(
            round(shown.share(started_at, now), 2),
            formats.shortened(formats.one_line(name), 20),
            formats.moment(started_at, now),
        )
        for name, started_at in workers.releases(session, since=shown.since(now), limit=3)
        if name != "dev"
    )


def _sum(parts: Iterable[AttemptStats | None]) -> AttemptStats:
    whole = AttemptStats()
    for each in parts:
        if each is not None:
            whole.add(each)
    return whole


def _title(moment: formats.Moment, sums: AttemptStats) -> str:
    return f"{moment.clock}: {formats.number(sums.finished)} finished, {formats.plural(sums.failed, 'failed attempt')}"
