"""Cron ticks: each is enqueued at most once, in one transaction with its row in `spoils_ticks`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    DateTime,
    String,
    bindparam,
    cast,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from spoils.job import Job
from spoils.models import ACTIVE, Pause, PauseKind, Schedule, Task, TaskState, Tick, TickEnding
from spoils.queue.enqueue import enqueue

_FIND = (
    insert(Schedule)
    .values(
        job=bindparam("job"),
        cron=bindparam("cron"),
        zone=bindparam("zone"),
        task_type=bindparam("task_type"),
        ping_url=bindparam("ping_url"),
        settled_until=func.clock_timestamp(),
    )
    .on_conflict_do_update(
        index_elements=["job", "cron", "zone"],
        set_={
            "seen_at": func.clock_timestamp(),
            "task_type": bindparam("task_type"),
            "ping_url": bindparam("ping_url"),
        },
    )
    .returning(
        Schedule.id,
        Schedule.settled_until,
        func.clock_timestamp().label("now"),
        select(Pause.paused_at)
        .where(Pause.kind == PauseKind.SCHEDULE.value, Pause.name == bindparam("job"))
        .scalar_subquery()
        .label("paused_at"),
    )
)
PINGED_WITHIN = timedelta(days=1)
"""The job of an older tick is not reported any more."""
PAUSED = "paused"
"""The reason of a tick that was skipped because its schedule was paused."""


@dataclass(frozen=True, slots=True)
class ScheduleProgress:
    """The progress of a schedule: every tick up to `settled_until` is recorded; `now` is the database's clock.

    `paused_at` is since when it is paused.
    """

    schedule_id: int
    settled_until: datetime
    now: datetime
    paused_at: datetime | None = None


def schedule_progress(
    connection: Connection, *, job: str, task_type: str, cron: str, zone: str, ping_url: str | None = None
) -> ScheduleProgress:
    """Find the schedule of this class, cron and zone, or begin it now: earlier ticks are not enqueued."""
    values = {"job": job, "task_type": task_type, "cron": cron, "zone": zone, "ping_url": ping_url}
    row = connection.execute(_FIND, values).one()
    return ScheduleProgress(row.id, row.settled_until, row.now, row.paused_at)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The outcome of a tick that this process recorded."""

    outcome: TickEnding
    task_id: UUID | None


def enqueue_tick(connection: Connection, job: Job, *, schedule_id: int, moment: datetime) -> Recorded | None:
    """Enqueue the job of a tick, or record the duplicate that prevented it; None if another worker did it first.

    All in the caller's transaction."""
    # The tick's row is the lock: a second worker waits here for the first one's commit, and then finds it taken.
    if not _record(connection, schedule_id, [moment], TickEnding.ENTERED):
        # The worker that entered it settled it too, unless the schedule has returned from the future since then.
        _settle(connection, schedule_id, moment)
        return None
    active_task = _still_active(connection, schedule_id, moment) if job.overlap is False else None
    if active_task is not None:
        recorded = Recorded(TickEnding.SKIPPED, active_task)
    else:
        entered = enqueue(connection, job)
        recorded = Recorded(TickEnding.SKIPPED if entered.duplicate else TickEnding.ENTERED, entered.id)
    connection.execute(
        update(Tick)
        .where(Tick.schedule_id == schedule_id, Tick.slot == moment)
        .values(outcome=recorded.outcome.value, task_id=recorded.task_id)
    )
    _settle(connection, schedule_id, moment)
    return recorded


def return_to_present(connection: Connection, progress: ScheduleProgress) -> None:
    """Go on from `progress.now`, since the database's clock was ahead and has been set back.

    What was missed or skipped meanwhile is decided anew when its time comes. What was entered stays: no tick is entered
    twice. All in the caller's transaction.
    """
    returned = connection.execute(
        update(Schedule)
        .where(Schedule.id == progress.schedule_id, Schedule.settled_until == progress.settled_until)
        .values(settled_until=progress.now)
    )
    if returned.rowcount:  # else another worker has done it
        connection.execute(
            delete(Tick).where(
                Tick.schedule_id == progress.schedule_id,
                Tick.slot > progress.now,
                Tick.outcome != TickEnding.ENTERED.value,
            )
        )


def record_missed(connection: Connection, *, schedule_id: int, moments: Sequence[datetime]) -> int:
    """Record ticks missed while no worker was up; how many were not on record before."""
    missed = _record(connection, schedule_id, moments, TickEnding.MISSED)
    _settle(connection, schedule_id, max(moments))
    return missed


def run_missed(connection: Connection, of: ColumnElement[bool], task_id: UUID) -> None:
    """Where the last tick of the schedules `of` was missed, name the task that makes up for it."""
    last = select(func.max(Tick.slot)).where(Tick.schedule_id == Schedule.id).correlate(Schedule)
    connection.execute(
        update(Tick)
        .where(
            Tick.schedule_id == Schedule.id,
            of,
            Tick.slot == last.scalar_subquery(),
            Tick.outcome == TickEnding.MISSED.value,
        )
        .values(task_id=task_id)
    )


def record_paused(connection: Connection, *, schedule_id: int, moments: Sequence[datetime]) -> int:
    """Record ticks that came due while the schedule was paused; how many were not on record before."""
    skipped = _record(connection, schedule_id, moments, TickEnding.SKIPPED, PAUSED)
    _settle(connection, schedule_id, max(moments))
    return skipped


def take_pings(connection: Connection) -> Sequence[int]:
    """The schedules to ping, since a job of a tick has finished: each such tick counts once, in the transaction."""
    statement = (
        update(Tick)
        .where(
            Tick.schedule_id == Schedule.id,
            Schedule.ping_url.is_not(None),
            Tick.slot > func.now() - PINGED_WITHIN,
            Tick.outcome == TickEnding.ENTERED.value,
            Tick.pinged_at.is_(None),
            Task.id == Tick.task_id,
            Task.state == TaskState.FINISHED,
        )
        .values(pinged_at=func.now())
        .returning(Tick.schedule_id)
    )
    return sorted(set(connection.scalars(statement)))


def _still_active(connection: Connection, schedule_id: int, moment: datetime) -> UUID | None:
    """The task of the last entered tick before this one, where it still waits or runs."""
    last = (
        select(Tick.task_id)
        .where(Tick.schedule_id == schedule_id, Tick.slot < moment, Tick.outcome == TickEnding.ENTERED.value)
        .order_by(Tick.slot.desc())
        .limit(1)
        .scalar_subquery()
    )
    return connection.scalar(select(Task.id).where(Task.id == last, Task.state.in_(ACTIVE)))


def _record(
    connection: Connection,
    schedule_id: int,
    moments: Sequence[datetime],
    outcome: TickEnding,
    reason: str | None = None,
) -> int:
    recorded = (
        func.unnest(cast(list(moments), ARRAY(DateTime(timezone=True))))
        .table_valued("slot", name="recorded")
        .render_derived()
    )
    statement = (
        insert(Tick)
        .from_select(
            ["schedule_id", "slot", "outcome", "reason"],
            select(literal(schedule_id), recorded.c.slot, literal(outcome.value), literal(reason, String)),
        )
        .on_conflict_do_nothing()
    )
    return connection.execute(statement).rowcount


def _settle(connection: Connection, schedule_id: int, moment: datetime) -> None:
    connection.execute(
        update(Schedule)
        .where(Schedule.id == schedule_id, Schedule.settled_until < moment)
        .values(settled_until=moment)
    )
