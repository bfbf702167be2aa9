"""Workers, what they run, and those that have stopped."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, func, select, true
from sqlalchemy.orm import aliased

from spoils.job.outcome import Ending
from spoils.models import Attempt, DbSession, Task, TaskState, Worker
from spoils.reports.brief_tasks import brief_tasks

LIVE_SECONDS = 30.0
MOST_RUNNING = 200
"""The most tasks of one worker that are read: as many as it may have threads."""


def live_workers(session: DbSession) -> Sequence[Worker]:
    """Workers whose row is not ended and with a heartbeat within the last 30 s, oldest first."""
    recent = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, LIVE_SECONDS)
    statement = (
        select(Worker).where(Worker.ended_at.is_(None), Worker.beat_at > recent).order_by(Worker.started_at)
    )
    return session.scalars(statement).all()


def takers_of(workers: Sequence[Worker], task_type: str) -> list[Worker]:
    """Those of the workers that perform tasks of that type."""
    return [one for one in workers if not one.draining and task_type in one.task_types]


def unknown_to(takers: Sequence[Worker], job: str | None) -> bool:
    """Whether there are workers that perform the type of a task, but none knows its job class.

    A worker of a release that published no classes may know any.
    """
    known = (one.job_classes is None or job in one.job_classes for one in takers)
    return bool(takers) and job is not None and not any(known)


def current_workers(session: DbSession) -> Sequence[Worker]:
    """Workers whose row is not ended, unresponsive ones too, the oldest first."""
    return session.scalars(select(Worker).where(Worker.ended_at.is_(None)).order_by(Worker.started_at)).all()


def stopped_workers(session: DbSession, *, hours: int = 24, limit: int = 20) -> Sequence[Worker]:
    """Workers that ended within the last `hours`: those that were killed first, then the last one first."""
    since = func.now() - func.make_interval(0, 0, 0, 0, hours)
    killed = Worker.ended_how.not_in(("clean", "recycled"))
    statement = (
        select(Worker)
        .where(Worker.ended_at > since)
        .order_by(killed.desc(), Worker.ended_at.desc())
        .limit(limit)
    )
    return session.scalars(statement).all()


def find_worker(session: DbSession, worker_id: UUID) -> Worker | None:
    """The worker with that id, running or stopped."""
    return session.get(Worker, worker_id)


def worker_names(session: DbSession, ids: Collection[UUID]) -> Mapping[UUID, tuple[str, int]]:
    """The host and the pid of these workers; those past their retention are left out."""
    if not ids:
        return {}
    rows = session.execute(select(Worker.id, Worker.host, Worker.pid).where(Worker.id.in_(ids)))
    return {row.id: (row.host, row.pid) for row in rows}


def releases(
    session: DbSession, *, since: datetime | None = None, limit: int = 20
) -> Sequence[tuple[str, datetime]]:
    """The releases whose first worker on record started at `since` or later, and when, the last first."""
    began = func.min(Worker.started_at)
    statement = select(Worker.release, began).group_by(Worker.release).order_by(began.desc()).limit(limit)
    if since is not None:
        statement = statement.having(began >= since)
    return [(release, moment) for release, moment in session.execute(statement)]


_wanted = (
    func.unnest(bindparam("workers", type_=ARRAY(Uuid)))
    .table_valued("worker_id", name="wanted")
    .render_derived()
)
_held = (
    select(Task)
    .where(Task.claimed_by == _wanted.c.worker_id, Task.state == TaskState.IN_PROGRESS)
    .order_by(Task.claimed_at)
    .limit(MOST_RUNNING)
    .correlate(_wanted)
    .lateral("held")
)
_Held = aliased(Task, _held)
_RUNNING = select(_Held).select_from(_wanted.join(_held, true()))


def held_by(session: DbSession, workers: Sequence[Worker]) -> Mapping[UUID, list[Task]]:
    """What each of these workers has claimed and not settled, what it has held longest first."""
    found: dict[UUID, list[Task]] = defaultdict(list)
    for task in brief_tasks(session, _RUNNING.params(workers=[worker.id for worker in workers]), _Held):
        if task.claimed_by is not None:
            found[task.claimed_by].append(task)
    return found


def rescued_from(session: DbSession, workers: Sequence[Worker]) -> Mapping[UUID, int]:
    """How many tasks of each of these ended workers were rescued within a minute of its end."""
    ends = [worker.ended_at for worker in workers if worker.ended_at is not None]
    if not ends:
        return {}
    minute = func.make_interval(0, 0, 0, 0, 0, 1)
    crashed = (
        select(func.count())
        .where(
            Attempt.ended_at >= Worker.ended_at - minute,
            Attempt.ended_at <= Worker.ended_at + minute,
            Attempt.worker_id == Worker.id,
            Attempt.outcome == Ending.CRASHED.value,
        )
        .correlate(Worker)
        .scalar_subquery()
    )
    statement = select(Worker.id, crashed).where(Worker.id.in_([worker.id for worker in workers]))
    return {row[0]: row[1] for row in session.execute(statement)}
