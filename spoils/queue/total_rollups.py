"""`spoils_totals`: the attempts of all time rolled up, so that a counter keeps its value when minutes are pruned."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, DateTime, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from spoils.models import Minute, Total
from spoils.queue import rollup
from spoils.queue.quarter_rollups import MARGIN_MINUTES

_END = func.date_trunc("minute", func.now() - func.make_interval(0, 0, 0, 0, 0, MARGIN_MINUTES))
_NONE_YET = literal("-infinity").cast(DateTime(timezone=True))


def totalled_until() -> ColumnElement[datetime]:
    """The end of what is rolled up: later minutes are in `spoils_minutes` alone. A scalar subquery."""
    return func.coalesce(select(func.max(Total.until)).scalar_subquery(), _NONE_YET)


_new = insert(Total).from_select(
    ["task_type", "outcome", "bucket", "count", "ran_ms", "until"],
    select(
        Minute.task_type,
        Minute.outcome,
        Minute.bucket,
        func.sum(Minute.count),
        func.sum(Minute.ran_ms),
        _END,
    )
    .where(Minute.minute >= totalled_until(), Minute.minute < _END)
    .group_by(Minute.task_type, Minute.outcome, Minute.bucket),
)
_ROLL_UP = _new.on_conflict_do_update(
    index_elements=[Total.task_type, Total.outcome, Total.bucket],
    set_={
        "count": Total.count + _new.excluded.count,
        "ran_ms": Total.ran_ms + _new.excluded.ran_ms,
        "until": _new.excluded.until,
    },
)


def roll_up_totals(connection: Connection) -> None:
    """Add the minutes that are over; skipped where another process does it now."""
    rollup.under_lock(connection, rollup.TOTALS_LOCK, _ROLL_UP)
