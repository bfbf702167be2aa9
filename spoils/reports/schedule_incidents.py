"""Schedules that need somebody: ticks that were missed or that nobody can enqueue, and failed jobs of ticks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, or_, select, true
from sqlalchemy.orm import Session

from spoils.job.registry import registry
from spoils.models import Schedule, Task, TaskState, Tick, TickEnding
from spoils.queue import tasks
from spoils.reports.schedules import SEEN_RECENTLY, KnownSchedule, problem_of, read_cron
from spoils.reports.workers import live_workers

MISSED, FAILING, WAITING = "missed:", "failing:", "unenqueued:"
KINDS = (MISSED, FAILING, WAITING)
LATELY = timedelta(minutes=10)
STILL_MISSED = timedelta(hours=1)
"""For how long a schedule counts as missed that has had no tick since."""
RECENT = 100
"""Ticks of each schedule that are scanned."""

_recent = (
    select(Tick.slot, Tick.outcome, Tick.told_at, Tick.task_id)
    .where(Tick.schedule_id == Schedule.id)
    .order_by(Tick.slot.desc())
    .limit(RECENT)
    .correlate(Schedule)
    .lateral("recent")
)
# A schedule of a class that no worker has any more is nobody's concern.
_used = or_(Schedule.name.is_not(None), Schedule.seen_at > func.now() - SEEN_RECENTLY)
_last = (
    select(Tick.slot, Tick.outcome, Tick.told_at, Tick.task_id)
    .where(Tick.schedule_id == Schedule.id)
    # By the key, of which this is the order: the index of moments holds the ticks of all schedules.
    .order_by(Tick.schedule_id.desc(), Tick.slot.desc())
    .limit(1)
    .correlate(Schedule)
    .lateral("last")
)
_LAST_MISSED = (
    select(Schedule, _last.c.slot)
    .join(_last, true())
    .where(
        _used,
        _last.c.outcome == TickEnding.MISSED.value,
        _last.c.told_at > func.now() - STILL_MISSED,
        _last.c.task_id.is_(None),  # nobody has run it by hand since
    )
    .order_by(_last.c.slot.desc())
)
_MISSED = (
    select(Schedule, func.count().label("number"), func.max(_recent.c.slot).label("last"))
    .join(_recent, true())
    .where(
        _used,
        _recent.c.outcome == TickEnding.MISSED.value,
        _recent.c.told_at > func.now() - LATELY,
        _recent.c.task_id.is_(None),
    )
    .group_by(Schedule.id)
)
# The last tick whose job does not wait or run any more. Where that job is pruned, nothing is known of it.
_ended = (
    select(_recent.c.slot, Task.state)
    .select_from(_recent)
    .outerjoin(Task, Task.id == _recent.c.task_id)
    .where(
        _recent.c.outcome == TickEnding.ENTERED.value,
        or_(Task.state.is_(None), Task.state.in_((TaskState.FINISHED, TaskState.FAILED))),
    )
    .order_by(_recent.c.slot.desc())
    .limit(1)
    .lateral("ended")
)
_FAILING = (
    select(Schedule, _ended.c.slot.label("last"))
    .join(_ended, true())
    .where(_used, _ended.c.state == TaskState.FAILED)
)


def find(connection: Connection) -> Iterator[tuple[str, str]]:
    """The key and the sentence of each; equal keys are one incident."""
    with Session(connection) as session:
        for row in session.execute(_MISSED):
            ticks = "its tick" if row.number == 1 else f"{row.number} ticks, the last one"
            missed = f"The schedule {row.Schedule.label} missed {ticks} at {_at(row.last)}"
            yield f"{MISSED}{row.Schedule.id}", f"{missed}: no worker that could run it was up."
        for row in session.execute(_FAILING):
            yield (
                f"{FAILING}{row.Schedule.id}",
                f"The job of the schedule {row.Schedule.label} for its tick at {_at(row.last)} failed.",
            )
        yield from _waiting(session)


def missed_last(session: Session) -> list[str]:
    """A sentence for each schedule whose last tick was missed within the hour. One probe for each schedule."""
    return [
        f"The schedule {row.Schedule.label} missed its tick at {_at(row.slot)}."
        for row in session.execute(_LAST_MISSED)
    ]


def _waiting(session: Session) -> Iterator[tuple[str, str]]:
    """Schedules made at runtime with a tick that no worker has enqueued or recorded in time."""
    now = tasks.server_now(session.connection())
    workers = live_workers(session)
    made = select(Schedule).where(Schedule.name.is_not(None), Schedule.paused_at.is_(None))
    for schedule in session.scalars(made):
        known = KnownSchedule(read_cron(schedule), schedule, registry.get(schedule.job_name))
        due_at = known.cron.next_after(schedule.settled_until) if known.cron else schedule.settled_until
        if due_at < now - LATELY:
            why = problem_of(known, workers) or "No worker has enqueued it."
            yield (
                f"{WAITING}{schedule.id}",
                f"The schedule {schedule.label} waits since its tick at {_at(due_at)}. {why}",
            )


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
