"""`spoils_backlog`: how many tasks of each type waited in each of the last minutes."""

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from spoils.models import WAITING, BacklogSample, Count

KEPT_MINUTES = 60

_minute = func.date_trunc("minute", func.now())
_waiting = func.sum(Count.delta).filter(Count.state.in_([state.value for state in WAITING]))
_COUNTED = (
    insert(BacklogSample)
    .from_select(
        ["minute", "task_type", "waiting", "counted_at"],
        # A type of which nothing waits has a row too: without one it would not be known.
        select(_minute, Count.task_type, func.coalesce(_waiting, 0), func.now()).group_by(Count.task_type),
    )
    .on_conflict_do_nothing()
)
_OLD = delete(BacklogSample).where(
    BacklogSample.minute < _minute - func.make_interval(0, 0, 0, 0, 0, KEPT_MINUTES)
)


def sample_backlog(connection: Connection) -> None:
    """Keep how many wait now, unless that was done in this minute; forget what is older than an hour."""
    connection.execute(_COUNTED)
    connection.execute(_OLD)
