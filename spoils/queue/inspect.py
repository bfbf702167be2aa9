"""Reading the queue, for the API and the pages. Nothing here writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, or_, select, true, tuple_, union_all
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import aliased, scoped_session

from spoils.models import ACTIVE, WAITING, Attempt, Schedule, Task, TaskState, Tick, TickEnding, Worker
from spoils.outcome import Ending
from spoils.queue.reach import level, wanted

Session = OrmSession | scoped_session[Any]

LIVE_SECONDS = 30.0
PAGE = 50
LATELY = 2000
FAR = 10_000
"""No index holds what has ended by its type: so many rows of a state are looked at for one page of a type."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of tasks, newest change first, and the keys to go on from: (updated_at, id)."""

    tasks: Sequence[Task]
    newer: tuple[datetime, UUID] | None
    older: tuple[datetime, UUID] | None
    cut_off: bool = False
    """Whether the search for a type ended after the `FAR` rows of a state; the key then leads on from there."""


@dataclass(frozen=True, slots=True)
class Twin:
    """The task that holds the unique hash of another one."""

    id: UUID
    state: TaskState


def find_task(session: Session, task_id: UUID) -> Task | None:
    """The task of that id."""
    return session.get(Task, task_id, populate_existing=True)


def attempts_of(session: Session, task_id: UUID, limit: int = 100) -> Sequence[Attempt]:
    """The task's attempts that did not finish, the last one first."""
    statement = (
        select(Attempt).where(Attempt.task_id == task_id).order_by(Attempt.attempt.desc(), Attempt.id.desc())
    )
    return session.scalars(statement.limit(limit)).all()


def uncounted_failures(connection: Connection, task_id: UUID) -> int:
    """How often the task was given back uncounted because the database failed it."""
    statement = (
        select(func.count())
        .select_from(Attempt)
        .where(
            Attempt.task_id == task_id, Attempt.outcome == Ending.RELEASED.value, Attempt.error_class != ""
        )
    )
    return connection.execute(statement).scalar_one()


def page_of_tasks(
    session: Session,
    *,
    state: TaskState | None = None,
    task_type: str | None = None,
    older_than: tuple[datetime, UUID] | None = None,
    newer_than: tuple[datetime, UUID] | None = None,
    limit: int = PAGE,
) -> Page:
    """One page, keyset both ways: pass a page's `older` as `older_than`, or its `newer` as `newer_than`."""
    backwards = newer_than is not None
    states = (state,) if state else tuple(TaskState)
    horizon = None
    if task_type is not None:
        horizon = _horizon(session, states, older_than=older_than, newer_than=newer_than)
    one_each = []
    for one in states:
        # A limited probe a state: failed and finished have an index each; what waits and runs is sorted, being little.
        probe = select(Task.id).where(Task.state == one)
        if task_type is not None:
            probe = probe.where(Task.task_type == task_type)
        if older_than is not None:
            probe = probe.where(tuple_(Task.updated_at, Task.id) < tuple_(*older_than))
        if newer_than is not None:
            probe = probe.where(tuple_(Task.updated_at, Task.id) > tuple_(*newer_than))
        if horizon is not None:
            key = tuple_(Task.updated_at, Task.id)
            probe = probe.where(key <= tuple_(*horizon) if backwards else key >= tuple_(*horizon))
        order = (Task.updated_at, Task.id) if backwards else (Task.updated_at.desc(), Task.id.desc())
        one_each.append(probe.order_by(*order).limit(limit + 1).subquery().select())
    chosen = one_each[0] if len(one_each) == 1 else union_all(*one_each)
    order = (Task.updated_at, Task.id) if backwards else (Task.updated_at.desc(), Task.id.desc())
    statement = select(Task).where(Task.id.in_(chosen)).order_by(*order).limit(limit + 1)
    rows = list(session.scalars(statement))
    more = len(rows) > limit
    rows = rows[:limit]
    if backwards:
        rows.reverse()
    first = (rows[0].updated_at, rows[0].id) if rows else None
    last = (rows[-1].updated_at, rows[-1].id) if rows else None
    cut_off = horizon is not None and not more
    if cut_off and backwards:
        return Page(rows, newer=horizon, older=last or newer_than, cut_off=True)
    if cut_off:
        return Page(rows, newer=(first or older_than) if older_than else None, older=horizon, cut_off=True)
    return Page(
        rows,
        newer=first if (older_than is not None or (backwards and more)) else None,
        older=last if (backwards or more) else None,
    )


def _horizon(
    session: Session,
    states: Sequence[TaskState],
    *,
    older_than: tuple[datetime, UUID] | None,
    newer_than: tuple[datetime, UUID] | None,
) -> tuple[datetime, UUID] | None:
    """How far one page looks: the key of the `FAR`-th row of an ended state, the nearest of them; None of fewer."""
    key = tuple_(Task.updated_at, Task.id)
    found = []
    for state in states:
        if state in ACTIVE:
            continue
        far = select(Task.updated_at, Task.id).where(Task.state == state)
        if older_than is not None:
            far = far.where(key < tuple_(*older_than))
        if newer_than is not None:
            far = far.where(key > tuple_(*newer_than)).order_by(Task.updated_at, Task.id)
        else:
            far = far.order_by(Task.updated_at.desc(), Task.id.desc())
        row = session.execute(far.offset(FAR - 1).limit(1)).one_or_none()
        if row is not None:
            found.append((row.updated_at, row.id))
    if not found:
        return None
    return min(found) if newer_than is not None else max(found)


def live_workers(session: Session) -> Sequence[Worker]:
    """Workers whose row is not ended and that beat within the last 30 s, oldest first."""
    recent = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, LIVE_SECONDS)
    statement = (
        select(Worker).where(Worker.ended_at.is_(None), Worker.beat_at > recent).order_by(Worker.started_at)
    )
    return session.scalars(statement).all()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of one type: since when its oldest due task waits."""

    task_type: str
    oldest_due_at: datetime


_first_due = (
    select(Task.scheduled_at)
    .where(
        Task.task_type == wanted.c.task_type,
        Task.state.in_(WAITING),
        Task.priority == level.c.priority,
        Task.scheduled_at <= func.now(),
    )
    .order_by(Task.scheduled_at)
    .limit(1)
    .correlate(wanted, level)
    .lateral("first_due")
)
# One probe of the claim index for each type and priority: its cost does not grow with what waits.
_OLDEST = (
    select(wanted.c.task_type, func.min(_first_due.c.scheduled_at))
    .select_from(wanted.join(level, true()).join(_first_due, true()))
    .group_by(wanted.c.task_type)
)


def oldest_waiting(session: Session, task_types: Sequence[str]) -> list[Waiting]:
    """For each type with a due task that waits: since when the oldest one is due."""
    rows = session.execute(_OLDEST, {"types": list(task_types)})
    return [Waiting(task_type, moment) for task_type, moment in rows]


def schedules(session: Session) -> Sequence[Schedule]:
    """Every schedule that a worker has known, by class."""
    return session.scalars(select(Schedule).order_by(Schedule.job, Schedule.id)).all()


def last_ticks(session: Session, schedule_id: int, limit: int = 14) -> Sequence[Tick]:
    """The last slots of a schedule that were told, newest first."""
    statement = select(Tick).where(Tick.schedule_id == schedule_id).order_by(Tick.slot.desc()).limit(limit)
    return session.scalars(statement).all()


def troubled_ticks(
    session: Session, *, late_seconds: float, within: int = LATELY, limit: int = 20
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


def standing_tasks(session: Session, task_ids: Sequence[UUID]) -> dict[UUID, Task]:
    """Those of these tasks that still exist, by id."""
    found = session.scalars(select(Task).where(Task.id.in_(task_ids)))
    return {task.id: task for task in found}


def twins_of(session: Session, task: Task, limit: int = 10) -> Sequence[Task]:
    """Other tasks with the same unique hash, the last changed first: active ones, and those that ended lately.

    Among ended tasks it looks through the last 2,000 of each state, for which no index on the hash is worth its cost.
    """
    if task.uniq_hash is None:
        return ()
    active = select(Task.id).where(Task.uniq_hash == task.uniq_hash, Task.state.in_(ACTIVE))
    ended = []
    for state in (TaskState.FAILED, TaskState.FINISHED):
        lately = select(Task.id, Task.uniq_hash).where(Task.state == state)
        recent = lately.order_by(Task.updated_at.desc(), Task.id.desc()).limit(LATELY).subquery()
        ended.append(select(recent.c.id).where(recent.c.uniq_hash == task.uniq_hash))
    statement = (
        select(Task)
        .where(Task.id.in_(union_all(active, *ended)), Task.id != task.id)
        .order_by(Task.updated_at.desc())
        .limit(limit)
    )
    return session.scalars(statement).all()


def active_twin(session: Session, task: Task) -> Twin | None:
    """The waiting or running task of the same unique hash, if another one has it."""
    if task.uniq_hash is None:
        return None
    statement = select(Task.id, Task.state).where(
        Task.uniq_hash == task.uniq_hash,
        Task.id != task.id,
        Task.state.in_(ACTIVE),
    )
    row = session.execute(statement.limit(1)).one_or_none()
    return Twin(row.id, row.state) if row else None


def server_now(connection: Connection) -> datetime:
    """The database's clock."""
    moment: datetime = connection.execute(select(func.now())).scalar_one()
    return moment
