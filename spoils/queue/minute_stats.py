"""`spoils_minutes`: buckets of run time, and rolling the delta rows up."""

import math
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import CTE, Connection, delete, func, insert, select
from sqlalchemy.sql.elements import ColumnElement

from spoils.models import Minute
from spoils.queue import rollup

PER_DOUBLING = 4
"""Buckets a doubling: a percentile read from them is off by at most 9 %."""
LAST_BUCKET = 127


def bucket(ran_ms: int) -> int:
    """The bucket of a run time: 0 holds under 1 ms, then four a doubling, up to 127 (about 50 days)."""
    if ran_ms < 1:
        return 0
    return min(1 + int(PER_DOUBLING * math.log2(ran_ms)), LAST_BUCKET)


def upper_ms(number: int) -> float:
    """The upper edge of a bucket in milliseconds."""
    return 1.0 if number == 0 else float(2 ** (number / PER_DOUBLING))


def percentile(buckets: Mapping[int, int], share: float, average_ms: float | None) -> float | None:
    """The run time in milliseconds that `share` of the attempts did not pass, 9 % off at most; None of none.

    `buckets` holds how many attempts lie in each. It is the middle of the bucket that the share reaches (its edges are
    apart by a factor, so the geometric one). In the highest bucket of all, a larger `average_ms` is a better estimate.
    """
    left = share * sum(buckets.values())
    highest = max((number for number, count in buckets.items() if count), default=0)
    for number in sorted(buckets):
        left -= buckets[number]
        if left <= 1e-9 and buckets[number]:
            middle = 0.5 if number == 0 else (upper_ms(number - 1) * upper_ms(number)) ** 0.5
            if number == highest and average_ms is not None:
                return max(middle, min(average_ms, upper_ms(number)))
            return middle
    return None


def counted(settled: CTE, counts: ColumnElement[bool], now: ColumnElement[datetime]) -> CTE:
    """The part of a statement that settles which counts what it settled, and where `counts` holds.

    `settled` has the columns task_type, outcome, bucket and ran_ms. Insert-only: a shared row would make settlements
    wait for each other.
    """
    return (
        insert(Minute)
        .from_select(
            ["minute", "task_type", "outcome", "bucket", "count", "ran_ms"],
            select(
                func.date_trunc("minute", now),
                settled.c.task_type,
                settled.c.outcome,
                settled.c.bucket,
                func.count(),
                func.sum(settled.c.ran_ms),
            )
            .where(counts)
            .group_by(settled.c.task_type, settled.c.outcome, settled.c.bucket),
        )
        .cte("minutes")
    )


# The running minute is still being written to; to roll it up again and again would leave dead rows for nothing.
_gone = (
    delete(Minute)
    .where(
        Minute.minute.in_(
            select(Minute.minute)
            .where(
                Minute.minute < func.date_trunc("minute", func.now()),
                # What comes later stays apart: looking for it would cost the whole table each time.
                Minute.minute >= func.now() - func.make_interval(0, 0, 0, 0, 1),
            )
            .group_by(Minute.minute, Minute.task_type, Minute.outcome, Minute.bucket)
            .having(func.count() > 1)
        )
    )
    .returning(Minute.minute, Minute.task_type, Minute.outcome, Minute.bucket, Minute.count, Minute.ran_ms)
    .cte("gone")
)
_ROLL_UP = insert(Minute).from_select(
    ["minute", "task_type", "outcome", "bucket", "count", "ran_ms"],
    select(
        _gone.c.minute,
        _gone.c.task_type,
        _gone.c.outcome,
        _gone.c.bucket,
        func.sum(_gone.c.count),
        func.sum(_gone.c.ran_ms),
    ).group_by(_gone.c.minute, _gone.c.task_type, _gone.c.outcome, _gone.c.bucket),
)


def roll_up_minutes(connection: Connection) -> None:
    """Roll the delta rows of past minutes up into one row each; skipped where another process does it now."""
    rollup.under_lock(connection, rollup.MINUTES_LOCK, _ROLL_UP)
