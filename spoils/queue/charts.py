"""Reading `spoils_minutes` and `spoils_quarters`: what ended when, how, and how long it ran."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, case, func, literal, select, union_all

from spoils.models import Minute, Quarter
from spoils.outcome import Ending
from spoils.queue.inspect import Session
from spoils.queue.minutes import upper_ms
from spoils.queue.quarters import folded_until, quarter_of

FINISHED = Ending.FINISHED.value
_SETTLED = tuple(each.value for each in Ending if each not in (Ending.RELEASED, Ending.SNOOZED))
QUARTER = timedelta(minutes=15)
Histogram = Mapping[int, int]


@dataclass(slots=True)
class Sums:
    """Attempts that ended: how many finished, how many failed, and the run time of the finished."""

    finished: int = 0
    failed: int = 0
    finished_ms: int = 0
    buckets: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """How many attempts of either ending lie in each bucket of run time."""

    @property
    def ended(self) -> int:
        """Both together."""
        return self.finished + self.failed


def percentile(buckets: Histogram, share: float) -> float | None:
    """The run time in milliseconds that `share` of the attempts did not pass, 9 % off at most; None of none."""
    left = share * sum(buckets.values())
    for number in sorted(buckets):
        left -= buckets[number]
        if left <= 1e-9:
            # The middle of the bucket, as far as its edges are apart by a factor.
            return 0.5 if number == 0 else (upper_ms(number - 1) * upper_ms(number)) ** 0.5
    return None


def ended_by_step(
    session: Session, *, since: datetime, step: timedelta, buckets_of: str | None = None
) -> dict[str, dict[datetime, Sums]]:
    """By task type and step of time, from `since` on, which must be the beginning of a step.

    Steps below a quarter of an hour are read from the minutes. Of the type `buckets_of` alone run times are read.
    """
    columns = union_all(*_sources(since, step)).subquery().c
    at = func.date_bin(step, columns.moment, since)
    bucket = case((columns.task_type == literal(buckets_of), columns.bucket), else_=-1)
    statement = select(
        columns.task_type, at, columns.outcome, bucket, func.sum(columns.count), func.sum(columns.ran_ms)
    ).group_by(columns.task_type, at, columns.outcome, bucket)
    found: dict[str, dict[datetime, Sums]] = defaultdict(lambda: defaultdict(Sums))
    for task_type, moment, outcome, number, count, ran_ms in session.execute(statement):
        _add(found[task_type][moment], outcome, number, int(count), int(ran_ms))
    return found


def ended_by_type(session: Session, *, since: datetime) -> dict[str, Sums]:
    """By task type, with run times, from the quarter of an hour in which `since` lies."""
    quarter = select(quarter_of(literal(since))).scalar_subquery()
    read = union_all(*_sources(quarter, QUARTER)).subquery()
    statement = select(
        read.c.task_type, read.c.outcome, read.c.bucket, func.sum(read.c.count), func.sum(read.c.ran_ms)
    ).group_by(read.c.task_type, read.c.outcome, read.c.bucket)
    found: dict[str, Sums] = defaultdict(Sums)
    for task_type, outcome, number, count, ran_ms in session.execute(statement):
        _add(found[task_type], outcome, number, int(count), int(ran_ms))
    return found


def _sources(since: Any, step: timedelta) -> list[Select[Any]]:
    """What to read: the minutes alone, or the quarters and the minutes that are not yet in them."""
    minutes = _rows(Minute, Minute.minute).where(Minute.minute >= since)
    if step < QUARTER:
        return [minutes]
    quarters = _rows(Quarter, Quarter.quarter).where(Quarter.quarter >= since)
    return [minutes.where(Minute.minute >= folded_until()), quarters]


def _rows(table: Any, moment: Any) -> Select[Any]:
    return select(
        moment.label("moment"), table.task_type, table.outcome, table.bucket, table.count, table.ran_ms
    ).where(table.outcome.in_(_SETTLED))


def _add(sums: Sums, outcome: str, number: int, count: int, ran_ms: int) -> None:
    if outcome == FINISHED:
        sums.finished += count
        sums.finished_ms += ran_ms
    else:
        sums.failed += count
    if number >= 0:
        sums.buckets[number] += count
