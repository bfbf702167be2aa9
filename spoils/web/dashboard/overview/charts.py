"""The two charts of the overview: attempts per minute, and run time of one type."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spoils.models import Worker
from spoils.reports.charts import Sums
from spoils.web.dashboard.overview.ranges import Range
from spoils.web.dashboard.shared import chart, formats

Steps = Mapping[str, Mapping[datetime, Sums]]
LINES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@dataclass(frozen=True, slots=True)
class Release:
    """When a release first had a worker, in per cent of the axis."""

    at: float
    name: str
    moment: formats.Moment | None


@dataclass(frozen=True, slots=True)
class Row:
    """A step's figures for the table that stands for a chart where it is not seen."""

    moment: formats.Moment | None
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Throughput:
    """Attempts that finished and that failed, per minute."""

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
    """Percentiles of the run time of one type, finished and failed attempts together."""

    task_type: str | None
    lines: tuple[Line, ...]
    x_marks: tuple[chart.Mark, ...]
    y_marks: tuple[chart.Mark, ...]
    releases: tuple[Release, ...]
    rows: tuple[Row, ...]


def throughput(steps: Steps, shown: Range, releases: Sequence[Release], now: datetime) -> Throughput:
    """The chart of attempts of every type."""
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


def run_time(
    steps: Steps, task_type: str | None, shown: Range, releases: Sequence[Release], now: datetime
) -> RunTime:
    """The chart of the percentiles of `task_type`; without lines where nothing of it ran."""
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
    )


def releases_of(session: Session, shown: Range, now: datetime) -> tuple[Release, ...]:
    """The releases whose first worker started within the range, the last three at most."""
    first = func.min(Worker.started_at)
    statement = (
        select(Worker.release, first)
        .where(Worker.release != "dev")
        .group_by(Worker.release)
        .having(first >= shown.since(now))
        .order_by(first.desc())
        .limit(3)
    )
    return tuple(
        Release(
            round(shown.share(moment, now), 2),
            formats.shortened(formats.one_line(name), 20),
            formats.moment(moment, now),
        )
        for name, moment in session.execute(statement)
    )


def _sum(parts: Iterable[Sums | None]) -> Sums:
    whole = Sums()
    for each in parts:
        if each is not None:
            whole.add(each)
    return whole


def _title(moment: formats.Moment | None, sums: Sums) -> str:
    when = moment.clock if moment else ""
    return f"{when}: {formats.number(sums.finished)} finished, {formats.number(sums.failed)} failed"
