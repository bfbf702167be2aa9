"""Failed tasks in groups, and those that wait for a retry: as far back as takes milliseconds, with how far that is."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Integer, Select, String, bindparam, func, select, true

from spoils.models import Attempt, DbSession, Task, TaskState
from spoils.queue.failures import WORDLESS, key_of, last_attempt, newest_in
from spoils.reports.brief_tasks import brief_tasks

FAR = 3_000
"""This many of the tasks that failed last are scanned in each state."""
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
    retrying: int = 0
    """How many more wait for their next attempt."""
    types: set[str] = field(default_factory=set)
    bins: list[int] = field(default_factory=lambda: [0] * BINS)


@dataclass(frozen=True, slots=True)
class Scan:
    """Groups, that of the newest failure first; `scanned` is how many tasks were scanned, `whole` whether all were."""

    groups: tuple[Group, ...]
    scanned: int
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

_SINCE = bindparam("since", type_=DateTime(timezone=True))


def scan(
    session: DbSession,
    *,
    now: datetime,
    since: datetime | None,
    task_type: str | None = None,
    state: TaskState = TaskState.FAILED,
    far: int = FAR,
) -> Scan:
    """The tasks in `state` that failed last, not before `since`, in groups; of `task_type` those that are among them.
    `state` is failed, or retried: those that wait for a retry.
    """
    values = {"now": now, "since": since, "task_type": task_type, "far": far}
    # Summed in the database: thousands of rows with their ids took longer to hand over than to find.
    statement = _groups(state, bounded=since is not None, of_type=task_type is not None)
    rows = session.execute(statement, values).all()
    scanned, begin = rows[0][:2]
    return Scan(
        tuple(_group(row) for row in rows if row.key is not None),
        scanned,
        scanned < far,
        since or begin or now,
    )


def with_retrying(failed: Sequence[Group], retrying: Sequence[Group]) -> tuple[Group, ...]:
    """The groups of both, the largest first."""
    groups = {each.key: each for each in failed}
    for each in retrying:
        group = groups.setdefault(each.key, replace(each, count=0, bins=[0] * BINS))
        group.retrying = each.count
        group.types |= each.types
        group.first_at, group.last_at = min(group.first_at, each.first_at), max(group.last_at, each.last_at)
    return tuple(
        sorted(groups.values(), key=lambda each: (each.count + each.retrying, each.last_at), reverse=True)
    )


# Put together once: that takes long beside what a page takes.
@cache
def _groups(state: TaskState, *, bounded: bool, of_type: bool) -> Select[Any]:
    """A row for each group, the newest first, each with how many tasks were scanned and the moment of the oldest."""
    # Of a task only what the index of failed ones holds: its row is read where no attempt says why it failed.
    newest_first = (Task.updated_at.desc(), Task.id.desc())
    place = func.row_number().over(order_by=newest_first).label("place")
    near = (
        select(Task.id, Task.updated_at, Task.task_type, Task.attempts, place)
        .where(Task.state == state, Task.updated_at >= _SINCE if bounded else true())
        .order_by(*newest_first)
        .limit(bindparam("far", type_=Integer))
        .cte("near_rows")
    )
    task = near.c
    own = select(Task.error_message).where(Task.id == task.id).scalar_subquery()
    last = last_attempt(task, state)
    whole = select(func.count().label("scanned"), func.min(task.updated_at).label("oldest")).subquery("whole")
    begin = _SINCE if bounded else select(whole.c.oldest).scalar_subquery()
    seconds = func.extract("epoch", bindparam("now", type_=DateTime(True)) - begin)
    at = func.extract("epoch", task.updated_at - begin) * BINS / func.greatest(1, seconds)
    keyed = (
        select(
            key_of(last.c.fingerprint, func.coalesce(last.c.message, own, "")).label("key"),
            task.place,
            task.updated_at,
            task.id,
            task.task_type,
            last.c.id.label("attempt"),
            func.least(BINS - 1, func.greatest(0, func.floor(at))).cast(Integer).label("bin"),
        )
        .select_from(near.outerjoin(last, true()))
        .where(task.task_type == bindparam("task_type", type_=String) if of_type else true())
        .cte("keyed")
    )
    one = keyed.c
    # Types with their repetitions: what is to be distinct is sorted.
    groups = (
        select(
            one.key,
            func.min(one.place).label("place"),
            func.min(one.updated_at).label("first_at"),
            func.array_agg(one.task_type).label("types"),
            func.array_agg(one.bin).label("bins"),
        )
        .group_by(one.key)
        .subquery("groups")
    )
    found, newest = groups.c, keyed.alias("newest")
    return (
        select(
            whole.c.scanned,
            whole.c.oldest,
            found.key,
            newest.c.id.label("example"),
            newest.c.attempt,
            found.first_at,
            newest.c.updated_at.label("last_at"),
            found.types,
            found.bins,
        )
        .select_from(whole.outerjoin(groups.join(newest, newest.c.place == found.place), true()))
        .order_by(found.place)
    )


def _group(row: Any) -> Group:
    bins = Counter(row.bins)
    return Group(
        key=row.key,
        example=row.example,
        attempt=row.attempt,
        first_at=row.first_at,
        last_at=row.last_at,
        count=len(row.bins),
        types=set(row.types),
        bins=[bins[place] for place in range(BINS)],
    )


def seen(session: DbSession, keys: Collection[str]) -> Mapping[str, Seen]:
    """When each of these groups was seen first and last; one that left no attempts on record is left out."""
    known = [key for key in keys if not key.startswith(WORDLESS)]
    return {row.key: Seen(*row[1:]) for row in session.execute(_SEEN, {"keys": known})}


def attempts_by_id(session: DbSession, ids: Collection[int]) -> Mapping[int, Attempt]:
    """These attempts, by their ids."""
    return {row.id: row for row in session.scalars(select(Attempt).where(Attempt.id.in_(ids)))}


def members(
    session: DbSession,
    key: str,
    limit: int,
    *,
    since: datetime | None = None,
    state: TaskState = TaskState.FAILED,
) -> Sequence[Task]:
    """The tasks of a group in `state` that failed last, not before `since`, the last first."""
    statement = select(Task).where(Task.id.in_(newest_in(key, limit, state)))
    if since is not None:
        statement = statement.where(Task.updated_at >= since)
    return brief_tasks(session, statement.order_by(Task.updated_at.desc(), Task.id.desc()))
