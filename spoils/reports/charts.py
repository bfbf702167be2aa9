"""Reading `spoils_minutes` and `spoils_quarters`: what ended when, how, and how long it ran."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, DateTime, Interval, Select, String, bindparam, func, select, union_all

from spoils.job.outcome import Ending
from spoils.models import DbSession, Minute, Quarter
from spoils.queue.quarter_rollups import quarter_of, rolled_up_until
from spoils.reports.attempt_stats import AttemptStats

_SETTLED = tuple(each.value for each in Ending if each not in (Ending.RELEASED, Ending.SNOOZED))
_JUDGED = tuple(each for each in _SETTLED if each != Ending.CANCELLED.value)
QUARTER = timedelta(minutes=15)


def ended_by_step(
    session: DbSession, *, since: datetime, step: timedelta, buckets_of: str | None = None
) -> dict[str, dict[datetime, AttemptStats]]:
    """By task type and step of time, from `since` on, which must be the beginning of a step.

    Steps below a quarter of an hour are read from the minutes. Of the type `buckets_of` alone run times are read.
    """
    found: dict[str, dict[datetime, AttemptStats]] = defaultdict(lambda: defaultdict(AttemptStats))
    fine, values = step < QUARTER, {"since": since, "step": step, "of": buckets_of}
    for task_type, at, outcome, count, ran_ms in session.execute(_sums_by_step(fine), values):
        _add(found[task_type][at], outcome, int(count), int(ran_ms))
    if buckets_of in found:
        for at, *held in session.execute(_run_times_by_step(fine), values):
            found[buckets_of][at].buckets.update(dict(zip(*held, strict=True)))
    return found


def ended_by_type(session: DbSession, *, since: datetime) -> dict[str, AttemptStats]:
    """By task type, with run times, from the quarter of an hour in which `since` lies."""
    found: dict[str, AttemptStats] = defaultdict(AttemptStats)
    for task_type, outcome, count, ran_ms in session.execute(_sums_by_type(), {"since": since}):
        _add(found[task_type], outcome, int(count), int(ran_ms))
    for task_type, *held in session.execute(_run_times_by_type(), {"since": since}):
        found[task_type].buckets.update(dict(zip(*held, strict=True)))
    return found


@dataclass(slots=True)
class Recent:
    """Of one type: how many attempts ended in the last minutes, and how many of them failed."""

    ended: int = 0
    failed: int = 0


def ended_recently(session: DbSession, *, minutes: int) -> dict[str, Recent]:
    """By task type, what ended in the last `minutes` and in the one that is not over.

    What was cancelled has not failed, and does not count.
    """
    this_minute = func.date_trunc("minute", func.now())
    statement = (
        select(Minute.task_type, Minute.outcome, func.sum(Minute.count))
        .where(
            Minute.minute >= this_minute - func.make_interval(0, 0, 0, 0, 0, minutes),
            Minute.outcome.in_(_JUDGED),
        )
        .group_by(Minute.task_type, Minute.outcome)
    )
    found: dict[str, Recent] = defaultdict(Recent)
    for task_type, outcome, count in session.execute(statement):
        of = found[task_type]
        of.ended += int(count)
        of.failed += int(count) if outcome != Ending.FINISHED.value else 0
    return found


_SINCE = bindparam("since", type_=DateTime(timezone=True))


# Made once each: to put them together for every page took as long as the database took for them.
@cache
def _sums_by_step(fine: bool) -> Select[Any]:
    read = _sums(_SINCE, fine=fine)
    by = (read.task_type, _step_of(read.moment), read.outcome)
    return select(*by, func.sum(read.count), func.sum(read.ran_ms)).group_by(*by)


@cache
def _run_times_by_step(fine: bool) -> Select[Any]:
    read = _run_times(_SINCE, fine=fine, of=bindparam("of", type_=String))
    return _histograms(read, _step_of(read.moment))


@cache
def _sums_by_type() -> Select[Any]:
    read = _sums(select(quarter_of(_SINCE)).scalar_subquery())
    by = (read.task_type, read.outcome)
    return select(*by, func.sum(read.count), func.sum(read.ran_ms)).group_by(*by)


@cache
def _run_times_by_type() -> Select[Any]:
    read = _run_times(select(quarter_of(_SINCE)).scalar_subquery())
    return _histograms(read, read.task_type)


def _step_of(moment: Any) -> Any:
    return func.date_bin(bindparam("step", type_=Interval), moment, _SINCE)


def _histograms(read: Any, by: Any) -> Select[Any]:
    """For each of `by` its buckets, and how many each holds; a row for each of them would be thousands."""
    held = func.sum(read.count).cast(BigInteger).label("held")
    one = select(by.label("by"), read.bucket, held).group_by(by, read.bucket).subquery("one").c
    return select(one.by, func.array_agg(one.bucket), func.array_agg(one.held)).group_by(one.by)


def _sums(since: Any, *, fine: bool = False) -> Any:
    """What ended when and how: moment, task_type, outcome, count, ran_ms."""
    return _read(
        select(Minute.minute.label("moment"), Minute.task_type, Minute.outcome, Minute.count, Minute.ran_ms),
        select(Quarter.quarter, Quarter.task_type, Quarter.outcome, Quarter.count, Quarter.ran_ms),
        since,
        fine=fine,
    )


def _run_times(since: Any, *, fine: bool = False, of: Any = None) -> Any:
    """How many ran how long: moment, task_type, bucket, count."""
    minutes = select(Minute.minute.label("moment"), Minute.task_type, Minute.bucket, Minute.count)
    # Two in one list go through their arrays in step.
    held = (func.unnest(Quarter.buckets), func.unnest(Quarter.counts))
    quarters = select(Quarter.quarter, Quarter.task_type, *held)
    if of is not None:
        minutes = minutes.where(Minute.task_type == of)
        quarters = quarters.where(Quarter.task_type == of)
    return _read(minutes, quarters, since, fine=fine)


def _read(minutes: Any, quarters: Any, since: Any, *, fine: bool) -> Any:
    """The columns of the minutes alone, or of the quarters and the minutes that are not yet in them."""
    minutes = minutes.where(Minute.minute >= since, Minute.outcome.in_(_SETTLED))
    if fine:
        return minutes.subquery("read").c
    quarters = quarters.where(Quarter.quarter >= since, Quarter.outcome.in_(_SETTLED))
    return union_all(minutes.where(Minute.minute >= rolled_up_until()), quarters).subquery("read").c


def _add(stats: AttemptStats, outcome: str, count: int, ran_ms: int) -> None:
    stats.outcomes[outcome] += count
    stats.ran_ms += ran_ms
