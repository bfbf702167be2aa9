"""`spoils_quarters`: the minutes of each quarter of an hour rolled up, so that days are drawn from few rows."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, DateTime, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from spoils.models import Minute, Quarter
from spoils.queue import rollup

QUARTER_MINUTES = 15
FAR_DAYS = 8
"""No page looks further back: older minutes, as an upgrade finds them, stay as they are."""
MARGIN_MINUTES = 2
"""A settlement takes its minute from the database's clock and is written within seconds; this is ample."""
_EPOCH = literal("2000-01-01T00:00:00+00:00").cast(DateTime(timezone=True))


def quarter_of(moment: Any) -> ColumnElement[Any]:
    """The quarter of an hour that a moment lies in."""
    return func.date_bin(_minutes(QUARTER_MINUTES), moment, _EPOCH)


def rolled_up_until() -> ColumnElement[Any]:
    """The end of the last quarter that is rolled up: later minutes are in `spoils_minutes` alone. A scalar subquery."""
    # Ordered and limited, not max(): the planner takes that from the index whatever the statement around it.
    last = select(Quarter.quarter).order_by(Quarter.quarter.desc()).limit(1).scalar_subquery()
    return func.coalesce(last + _minutes(QUARTER_MINUTES), func.now() - func.make_interval(0, 0, 0, FAR_DAYS))


def _minutes(number: int) -> ColumnElement[Any]:
    return func.make_interval(0, 0, 0, 0, 0, number)


_over = (
    select(
        quarter_of(Minute.minute).label("quarter"),
        Minute.task_type,
        Minute.outcome,
        Minute.bucket,
        func.sum(Minute.count).label("count"),
        func.sum(Minute.ran_ms).label("ran_ms"),
    )
    .where(
        Minute.minute >= rolled_up_until(),
        Minute.minute < quarter_of(func.now() - _minutes(MARGIN_MINUTES)),
    )
    .group_by(quarter_of(Minute.minute), Minute.task_type, Minute.outcome, Minute.bucket)
    .subquery("over")
).c
_ROLL_UP = (
    insert(Quarter)
    .from_select(
        ["quarter", "task_type", "outcome", "count", "ran_ms", "buckets", "counts"],
        select(
            _over.quarter,
            _over.task_type,
            _over.outcome,
            func.sum(_over.count),
            func.sum(_over.ran_ms),
            func.array_agg(aggregate_order_by(_over.bucket, _over.bucket)),
            func.array_agg(aggregate_order_by(_over.count, _over.bucket)),
        ).group_by(_over.quarter, _over.task_type, _over.outcome),
    )
    .on_conflict_do_nothing()
)


def roll_up_quarters(connection: Connection) -> None:
    """Roll up the quarters that are over; skipped where another process does it now."""
    rollup.under_lock(connection, rollup.QUARTERS_LOCK, _ROLL_UP)
