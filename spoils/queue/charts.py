"""Reading `spoils_minutes` and `spoils_quarters`: what ended when, how, and how long it ran."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Select, func, literal, select, union_all

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
    found: dict[str, dict[datetime, Sums]] = defaultdict(lambda: defaultdict(Sums))
    sums = _sums(since, step)
    moment = func.date_bin(step, sums.moment, since)
    for task_type, at, outcome, count, ran_ms in session.execute(
        select(sums.task_type, moment, sums.outcome, func.sum(sums.count), func.sum(sums.ran_ms)).group_by(
            sums.task_type, moment, sums.outcome
        )
    ):
        _add(found[task_type][at], outcome, int(count), int(ran_ms))
    if buckets_of in found:
        run_times = _run_times(since, step, of=buckets_of)
        moment = func.date_bin(step, run_times.moment, since)
        for at, *held in session.execute(_histograms(run_times, moment)):
            found[buckets_of][at].buckets.update(zip(*held, strict=True))
    return found


def ended_by_type(session: Session, *, since: datetime) -> dict[str, Sums]:
    """By task type, with run times, from the quarter of an hour in which `since` lies."""
    quarter = select(quarter_of(literal(since))).scalar_subquery()
    found: dict[str, Sums] = defaultdict(Sums)
    sums = _sums(quarter, QUARTER)
    for task_type, outcome, count, ran_ms in session.execute(
        select(sums.task_type, sums.outcome, func.sum(sums.count), func.sum(sums.ran_ms)).group_by(
            sums.task_type, sums.outcome
        )
    ):
        _add(found[task_type], outcome, int(count), int(ran_ms))
    run_times = _run_times(quarter, QUARTER)
    for task_type, *held in session.execute(_histograms(run_times, run_times.task_type)):
        found[task_type].buckets.update(zip(*held, strict=True))
    return found


def _histograms(run_times: Any, by: Any) -> Select[Any]:
    """For each of `by` its buckets, and how many each holds; a row for each of them would be thousands."""
    held = func.sum(run_times.count).cast(BigInteger).label("held")
    one = select(by.label("by"), run_times.bucket, held).group_by(by, run_times.bucket).subquery("one").c
    return select(one.by, func.array_agg(one.bucket), func.array_agg(one.held)).group_by(one.by)


def _sums(since: Any, step: timedelta) -> Any:
    """What ended when and how: moment, task_type, outcome, count, ran_ms."""
    return _read(
        select(Minute.minute.label("moment"), Minute.task_type, Minute.outcome, Minute.count, Minute.ran_ms),
        select(Quarter.quarter, Quarter.task_type, Quarter.outcome, Quarter.count, Quarter.ran_ms),
        since,
        step,
    )


def _run_times(since: Any, step: timedelta, of: str | None = None) -> Any:
    """How many ran how long: moment, task_type, bucket, count."""
    minutes = select(Minute.minute.label("moment"), Minute.task_type, Minute.bucket, Minute.count)
    # Two in one list go through their arrays in step.
    held = (func.unnest(Quarter.buckets), func.unnest(Quarter.counts))
    quarters = select(Quarter.quarter, Quarter.task_type, *held)
    if of is not None:
        minutes = minutes.where(Minute.task_type == of)
        quarters = quarters.where(Quarter.task_type == of)
    return _read(minutes, quarters, since, step)


def _read(minutes: Any, quarters: Any, since: Any, step: timedelta) -> Any:
    """The columns of the minutes alone, or of the quarters and the minutes that are not yet in them."""
    minutes = minutes.where(Minute.minute >= since, Minute.outcome.in_(_SETTLED))
    if step < QUARTER:
        return minutes.subquery("read").c
    quarters = quarters.where(Quarter.quarter >= since, Quarter.outcome.in_(_SETTLED))
    return union_all(minutes.where(Minute.minute >= folded_until()), quarters).subquery("read").c


def _add(sums: Sums, outcome: str, count: int, ran_ms: int) -> None:
    if outcome == FINISHED:
        sums.finished += count
        sums.finished_ms += ran_ms
    else:
        sums.failed += count
