"""How long jobs waited, from when they were due until a worker claimed them: those that finished last."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import DateTime, Float, bindparam, case, cast, func, literal, select

from spoils.models import DbSession, Task, TaskState

MOST = 2_000
"""The most finished jobs that are read, those of all types together, the last ones: no index has them by type."""

_last = (
    select(Task.task_type, Task.scheduled_at, Task.claimed_at, Task.updated_at)
    .where(Task.state == literal(TaskState.FINISHED, literal_execute=True))
    .order_by(Task.updated_at.desc(), Task.id.desc())
    .limit(MOST)
    .subquery("last")
).c
_seconds = cast(func.extract("epoch", _last.claimed_at - _last.scheduled_at), Float)
# Infinity less a moment is an error.
_waited_ms = case((func.isfinite(_last.scheduled_at), func.greatest(_seconds * 1_000, 0)))
_WAITED = (
    select(
        _last.task_type,
        func.percentile_disc(0.5).within_group(_waited_ms),
        func.percentile_disc(0.95).within_group(_waited_ms),
    )
    .where(
        _last.claimed_at.is_not(None), _last.updated_at >= bindparam("since", type_=DateTime(timezone=True))
    )
    .group_by(_last.task_type)
)


@dataclass(frozen=True, slots=True)
class Waited:
    """Of one type: the times in milliseconds that half, and 95 of 100, of its jobs did not pass."""

    p50_ms: float | None = None
    p95_ms: float | None = None


def waited_by_type(session: DbSession, *, since: datetime) -> dict[str, Waited]:
    """By task type: how long its jobs waited that finished since then, if they are among the last `MOST`."""
    return {name: Waited(p50, p95) for name, p50, p95 in session.execute(_WAITED, {"since": since})}
