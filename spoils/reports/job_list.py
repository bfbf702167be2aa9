"""A list of tasks, a page at a time. A search that no index serves reads a bounded number of rows for each page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, func, select, true, tuple_, union_all
from sqlalchemy.orm import aliased

from spoils.db.engine import FIRST_MOMENT, LAST_MOMENT
from spoils.masking import masked_text
from spoils.models import WAITING, DbSession, Task, TaskState
from spoils.queue.claim_scope import any_level, waits, wanted
from spoils.reports.brief_tasks import LONGEST_ERROR, brief_tasks
from spoils.reports.pager import Cursor

PAGE = 50
FAR = 10_000
"""No index holds jobs by type and change, or by words: at most this many of a state are read for one page."""
FAR_OF_LEVEL = 1_000
"""By when they are due, the claim index holds the tasks of one type and priority, new and retried ones: at most this
many of each are read for one page of new ones."""
_UNSURE = 2_000
_MOST_READS = 40
"""The most reads for one page by words: each could find only matches that are masked, and left out."""

Key = tuple[datetime, UUID]
"""The key of a task in a list: when it changed, or is due, and its id."""
_itself = aliased(Task, name="itself")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of tasks, and the keys to go on from."""

    tasks: Sequence[Task]
    newer: Key | None
    older: Key | None
    cut_off: bool = False
    """Whether the search ended after as many rows as one page may read; the key continues from there."""


def page_of_tasks(
    session: DbSession,
    *,
    states: Sequence[TaskState] = tuple(TaskState),
    task_type: str | None = None,
    batch: UUID | None = None,
    words: Sequence[str] = (),
    without: Sequence[str] = (),
    since: datetime | None = None,
    older_than: Key | None = None,
    newer_than: Key | None = None,
    limit: int = PAGE,
) -> Page:
    """One page, newest change first: pass a page's `older` as `older_than`, or its `newer` as `newer_than`.

    With `batch`, only its members. `without` are task types that are left out. With `since`, only tasks that have
    changed since then. With `words`, only tasks whose masked error contains all of them, ignoring case. The workers of
    another system do not mask errors before they store them, and neither rows nor keys may reveal what is masked.
    """
    reach = _Range(Cursor(older_than, newer_than), since=since)
    of_batch = [] if batch is None else [Task.batch_id == batch]
    left_out = [Task.task_type.not_in(without)] if without and batch is None else []
    conditions = [*_narrowed(task_type, words), *of_batch, *left_out]
    near = None
    if task_type is not None and not words and batch is None:
        near = _few_that_wait(session, task_type)
    # An index has the members of a batch by state and change: they are not searched for.
    if conditions and batch is None:
        far = [
            one for one in states if one is not TaskState.IN_PROGRESS and (near is None or one not in WAITING)
        ]
        reach = replace(reach, horizon=_horizon(session, far, reach))

    def tasks_in(part: _Range) -> list[Task]:
        one_each: list[Select[Any]] = []
        for one in states:
            # One limited probe for each state, by an index of its own. Running tasks are few, and sorted.
            of = near.c if near is not None and one in WAITING else Task
            probe = select(of.id).where(of.state == one, *(conditions if of is Task else ()))
            one_each.append(part.rows_of(probe, of).limit(limit + 1).subquery().select())
        chosen = one_each[0] if len(one_each) == 1 else union_all(*one_each)
        statement = part.cursor.ordered(select(Task).where(Task.id.in_(chosen)), Task.updated_at, Task.id)
        return brief_tasks(session, statement.limit(limit + 1))

    found = tasks_in(reach)
    shown = [task for task in found if _shows(task, words)]
    reads = 1
    while len(found) > limit and len(shown) <= limit and words:
        if reads == _MOST_READS:
            reach = replace(reach, horizon=reach.key(found[-1]))
            break
        reads += 1
        found = tasks_in(reach.beyond(found[-1]))
        shown += [task for task in found if _shows(task, words)]
    return reach.page(shown, limit)


def page_of_new(
    session: DbSession,
    task_types: Sequence[str],
    *,
    older_than: Key | None = None,
    newer_than: Key | None = None,
    limit: int = PAGE,
) -> Page:
    """One page of the new tasks of these types, those that are due first before the others."""
    reach = _Range(Cursor(older_than, newer_than, ascending=True), by_due=True)
    of_level = select(Task.scheduled_at, Task.id).where(
        Task.task_type == wanted.c.task_type, Task.priority == any_level.c.priority, waits
    )

    def of_all(probe: Select[Any], most: int) -> Select[Any]:
        """The first `most` of what the probes of all types and priorities find."""
        each = probe.correlate(wanted, any_level).lateral("each")
        found = select(each.c.scheduled_at, each.c.id).select_from(
            wanted.join(any_level, true()).join(each, true())
        )
        ordered = reach.cursor.ordered(found, each.c.scheduled_at, each.c.id).limit(most)
        return ordered.params(types=list(task_types))

    far = reach.rows_of(of_level, Task).offset(FAR_OF_LEVEL - 1).limit(1)
    if row := session.execute(of_all(far, 1)).one_or_none():
        reach = replace(reach, horizon=(row.scheduled_at, row.id))
    new = reach.rows_of(of_level.where(Task.state == TaskState.NEW), Task).limit(limit + 1)
    near = of_all(new, limit + 1).subquery("near")
    statement = select(Task).where(Task.id.in_(select(near.c.id)))
    found = brief_tasks(session, reach.cursor.ordered(statement, Task.scheduled_at, Task.id))
    return reach.page(found, limit)


@dataclass(frozen=True, slots=True)
class _Range:
    """Where a page starts, the last key that it may read, and since when its tasks have changed."""

    cursor: Cursor[Key]
    horizon: Key | None = None
    since: datetime | None = None
    by_due: bool = False

    def rows_of(self, statement: Any, of: Any) -> Any:
        """The rows of `statement` in this range, the nearest first."""
        moment = of.scheduled_at if self.by_due else of.updated_at
        if self.horizon is not None:
            key, end = tuple_(moment, of.id), self._place(self.horizon)
            statement = statement.where(key <= end if self.cursor.rising else key >= end)
        if self.since is not None:
            statement = statement.where(moment >= self.since)
        return self.cursor.rows_of(statement, moment, of.id, value=self._place)

    def key(self, task: Task) -> Key:
        """The key of a task."""
        return (task.scheduled_at if self.by_due else task.updated_at), task.id

    def beyond(self, task: Task) -> "_Range":
        """The part behind this task."""
        key = self.key(task)
        return replace(
            self, cursor=Cursor(newer_than=key) if self.cursor.backwards else Cursor(older_than=key)
        )

    def _place(self, key: Key) -> ColumnElement[Any]:
        moment, task_id = key
        if moment not in (FIRST_MOMENT, LAST_MOMENT):
            return tuple_(moment, task_id)
        # A moment outside Python's years was read as the first or last of them: the row has the true one.
        true_moment = select(_itself.scheduled_at if self.by_due else _itself.updated_at)
        found = true_moment.where(_itself.id == task_id).scalar_subquery()
        return tuple_(func.coalesce(found, moment), task_id)

    def page(self, found: list[Task], limit: int) -> Page:
        """The page of the tasks found, which are one more than `limit` if there are more."""
        page = self.cursor.page(found, limit, self.key)
        if self.horizon is None or len(found) > limit:
            return Page(page.rows, page.newer, page.older)
        if self.cursor.backwards:
            older = page.older or self.cursor.newer_than
            return Page(page.rows, newer=self.horizon, older=older, cut_off=True)
        return Page(page.rows, page.newer, older=self.horizon, cut_off=True)


def _shows(task: Task, words: Sequence[str]) -> bool:
    if not words:
        return True
    # The end of a truncated error may be part of a secret that is no longer recognizable.
    error = masked_text(task.error_message or "")[: LONGEST_ERROR - _UNSURE].casefold()
    return all(word.casefold() in error for word in words)


def _narrowed(task_type: str | None, words: Sequence[str]) -> list[ColumnElement[bool]]:
    conditions = [Task.error_message.icontains(word, autoescape=True) for word in words]
    return conditions if task_type is None else [Task.task_type == task_type, *conditions]


def _few_that_wait(session: DbSession, task_type: str) -> CTE | None:
    """The waiting tasks of a type, by the claim index; None if they are too many to read."""
    waiting = select(Task.id, Task.state, Task.updated_at).where(Task.task_type == task_type, waits)
    if session.execute(waiting.with_only_columns(Task.id).offset(FAR).limit(1)).one_or_none():
        return None
    # Otherwise the planner, which has no statistics for a rare type, may read all waiting tasks.
    return waiting.cte("near").prefix_with("MATERIALIZED", dialect="postgresql")


def _horizon(session: DbSession, states: Sequence[TaskState], reach: _Range) -> Key | None:
    """The last key that a page may read: the nearest of the keys of each state's `FAR`-th row; None with fewer rows."""
    found = []
    for state in states:
        far = reach.rows_of(select(Task.updated_at, Task.id).where(Task.state == state), Task)
        row = session.execute(far.offset(FAR - 1).limit(1)).one_or_none()
        if row is not None:
            found.append((row.updated_at, row.id))
    if not found:
        return None
    return min(found) if reach.cursor.backwards else max(found)
