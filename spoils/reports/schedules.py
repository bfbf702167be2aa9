"""Schedules, and the outcomes of their ticks."""

from collections.abc import Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import aliased

from spoils.models import DbSession, Schedule, Tick, TickEnding

LATELY = 2000


def all_schedules(session: DbSession) -> Sequence[Schedule]:
    """Every schedule that a worker has known, by class."""
    return session.scalars(select(Schedule).order_by(Schedule.job, Schedule.id)).all()


def last_ticks(session: DbSession, schedule_id: int, limit: int = 14) -> Sequence[Tick]:
    """The last recorded ticks of a schedule, newest first."""
    statement = select(Tick).where(Tick.schedule_id == schedule_id).order_by(Tick.slot.desc()).limit(limit)
    return session.scalars(statement).all()


def troubled_ticks(
    session: DbSession, *, late_seconds: float, within: int = LATELY, limit: int = 20
) -> Sequence[Tick]:
    """Of the last `within` ticks of all schedules those that were skipped, missed or late, the last one first."""
    recent = select(Tick).order_by(Tick.slot.desc()).limit(within).subquery()
    tick = aliased(Tick, recent)
    late = tick.told_at - tick.slot > func.make_interval(0, 0, 0, 0, 0, 0, late_seconds)
    statement = (
        select(tick)
        .where(or_(tick.outcome != TickEnding.ENTERED.value, late))
        .order_by(tick.slot.desc(), tick.schedule_id)
        .limit(limit)
    )
    return session.scalars(statement).all()
