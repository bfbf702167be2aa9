"""Looking at the failed tasks in groups: as far back as takes milliseconds, and telling how far that was."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, String, bindparam, func, select, true

from spoils.models import Attempt, Task, TaskState, Worker
from spoils.queue.failures import WORDLESS, key_of, last_attempt, newest_in
from spoils.queue.inspect import Session

FAR = 5_000
"""So many of the tasks that failed last are looked at."""
BINS = 48


@dataclass(slots=True)
class Group:
    """Like failures: how many, of which types, by bin of time, and the newest one."""

    key: str
    example: UUID
    attempt: int | None
    """The id of the example's last attempt; none where it left none on record."""
    first_at: datetime
    last_at: datetime
    count: int = 0
    types: set[str] = field(default_factory=set)
    bins: list[int] = field(default_factory=lambda: [0] * BINS)


@dataclass(frozen=True, slots=True)
class Look:
    """Groups, that of the newest failure first; `looked` tells at how many tasks, `whole` whether those were all."""

    groups: tuple[Group, ...]
    looked: int
    whole: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """When a group was seen first and last, and on which releases."""

    first_at: datetime
    first_release: str | None
    last_at: datetime
    last_release: str | None


_wanted = (
    func.unnest(bindparam("keys", type_=ARRAY(String))).table_valued("key", name="wanted").render_derived()
)
_of_group = select(Attempt.ended_at, Attempt.release).where(Attempt.fingerprint == _wanted.c.key).limit(1)
_begin = _of_group.order_by(Attempt.ended_at).correlate(_wanted).lateral("begin")
_end = _of_group.order_by(Attempt.ended_at.desc()).correlate(_wanted).lateral("ending")
_SEEN = select(
    _wanted.c.key, _begin.c.ended_at, _begin.c.release, _end.c.ended_at, _end.c.release
).select_from(_wanted.join(_begin, true()).join(_end, true()))


def look(
    session: Session, *, now: datetime, since: datetime | None, task_type: str | None = None, far: int = FAR
) -> Look:
    """The failed tasks that changed last, not before `since`, in groups; of `task_type` those that are among them."""
    # Of a task only what the index of failed ones holds: its row is read where no attempt says why it failed.
    near = select(Task.id, Task.updated_at, Task.task_type, Task.attempts).where(
        Task.state == TaskState.FAILED
    )
    if since is not None:
        near = near.where(Task.updated_at >= since)
    newest_first = near.order_by(Task.updated_at.desc(), Task.id.desc()).limit(far)
    near_rows = newest_first.subquery("near_rows")
    task = near_rows.c
    own = select(Task.error_message).where(Task.id == task.id).scalar_subquery()
    last = last_attempt(task)
    statement = (
        select(
            key_of(last.c.fingerprint, func.coalesce(last.c.message, own, "")),
            task.updated_at,
            task.id,
            task.task_type,
            last.c.id,
        )
        .select_from(near_rows)
        .outerjoin(last, true())
        .order_by(task.updated_at.desc(), task.id.desc())
    )
    rows = session.execute(statement).all()
    begin = since or (rows[-1][1] if rows else now)
    width = max(1.0, (now - begin).total_seconds()) / BINS
    groups: dict[str, Group] = {}
    for key, at, task_id, of_type, attempt in rows:
        if task_type not in (None, of_type):
            continue
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(key, task_id, attempt, at, at)
        group.count += 1
        group.first_at = at
        group.types.add(of_type)
        group.bins[min(BINS - 1, max(0, int((at - begin).total_seconds() / width)))] += 1
    return Look(tuple(groups.values()), len(rows), len(rows) < far, begin)


def seen(session: Session, keys: Collection[str]) -> Mapping[str, Seen]:
    """When each of these groups was seen first and last; one that left no attempts on record is left out."""
    known = [key for key in keys if not key.startswith(WORDLESS)]
    return {row.key: Seen(*row[1:]) for row in session.execute(_SEEN, {"keys": known})}


def releases(session: Session, limit: int = 20) -> Sequence[tuple[str, datetime]]:
    """The releases of which workers are on record, the last first, and when each began."""
    began = func.min(Worker.started_at)
    statement = select(Worker.release, began).group_by(Worker.release).order_by(began.desc()).limit(limit)
    return [(release, moment) for release, moment in session.execute(statement)]


def attempts_by_id(session: Session, ids: Collection[int]) -> Mapping[int, Attempt]:
    """These attempts, by their ids."""
    return {row.id: row for row in session.scalars(select(Attempt).where(Attempt.id.in_(ids)))}


def members(session: Session, key: str, limit: int) -> Sequence[Task]:
    """The tasks of a group that failed last, the last first."""
    statement = select(Task).where(Task.id.in_(newest_in(key, limit)))
    return session.scalars(statement.order_by(Task.updated_at.desc(), Task.id.desc())).all()
