"""A list of tasks, a page at a time, by what an index holds or by looking at so many rows; each page tells which."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, func, select, tuple_, union_all
from sqlalchemy.orm import aliased

from spoils.db.engine import FIRST_MOMENT, LAST_MOMENT
from spoils.masking import masked_text
from spoils.models import WAITING, DbSession, Task, TaskState
from spoils.queue.claim_scope import waits
from spoils.reports.brief_tasks import LONGEST_ERROR, brief_tasks

PAGE = 50
FAR = 10_000
"""No index holds jobs by type and change, or by words: so many of a state are looked at for one page of them."""
_UNSURE = 2_000
_MOST_READS = 40
"""So many reads are made for one page by words: of others each would show a match that is masked, and is left out."""

Key = tuple[datetime, UUID]
"""A task's place in a list: when it changed, and its id."""
_itself = aliased(Task, name="itself")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of tasks, newest change first, and the keys to go on from."""

    tasks: Sequence[Task]
    newer: Key | None
    older: Key | None
    cut_off: bool = False
    """Whether the search ended after the `FAR` rows of a state; the key then leads on from there."""


def page_of_tasks(
    session: DbSession,
    *,
    states: Sequence[TaskState] = tuple(TaskState),
    task_type: str | None = None,
    words: Sequence[str] = (),
    older_than: Key | None = None,
    newer_than: Key | None = None,
    limit: int = PAGE,
) -> Page:
    """One page, keyset both ways: pass a page's `older` as `older_than`, or its `newer` as `newer_than`.

    With `words` only those whose error shows all of them, in letters of either case: another system's workers do not
    mask errors before they store them, and neither rows nor places to go on from may tell what is masked.
    """
    stretch = _Stretch(older_than, newer_than)
    conditions = _narrowed(task_type, words)
    near = _few_that_wait(session, task_type) if task_type is not None and not words else None
    if conditions:
        far = [
            one for one in states if one is not TaskState.IN_PROGRESS and (near is None or one not in WAITING)
        ]
        stretch = replace(stretch, horizon=_horizon(session, far, stretch))

    def tasks_in(part: _Stretch) -> list[Task]:
        one_each: list[Select[Any]] = []
        for one in states:
            # A limited probe a state, each by an index of its own; what runs is sorted, being little.
            of = near.c if near is not None and one in WAITING else Task
            probe = select(of.id).where(of.state == one, *(conditions if of is Task else ()))
            one_each.append(part.of(probe, of).limit(limit + 1).subquery().select())
        chosen = one_each[0] if len(one_each) == 1 else union_all(*one_each)
        statement = part.ordered(select(Task).where(Task.id.in_(chosen)), Task)
        return brief_tasks(session, statement.limit(limit + 1))

    found = tasks_in(stretch)
    shown = [task for task in found if _shows(task, words)]
    reads = 1
    while len(found) > limit and len(shown) <= limit and words:
        if reads == _MOST_READS:
            stretch = replace(stretch, horizon=(found[-1].updated_at, found[-1].id))
            break
        reads += 1
        found = tasks_in(stretch.beyond(found[-1]))
        shown += [task for task in found if _shows(task, words)]
    return stretch.page(shown, limit)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Where a page begins, which way it goes on from there, and the last key that it may look at."""

    older_than: Key | None
    newer_than: Key | None
    horizon: Key | None = None

    @property
    def backwards(self) -> bool:
        return self.newer_than is not None

    def of(self, statement: Any, of: Any) -> Any:
        """What of `statement` lies in it, in its order."""
        key = tuple_(of.updated_at, of.id)
        if self.older_than is not None:
            statement = statement.where(key < _place(self.older_than))
        if self.newer_than is not None:
            statement = statement.where(key > _place(self.newer_than))
        if self.horizon is not None:
            end = _place(self.horizon)
            statement = statement.where(key <= end if self.backwards else key >= end)
        return self.ordered(statement, of)

    def ordered(self, statement: Any, of: Any) -> Any:
        """The nearest to its beginning first."""
        if self.backwards:
            return statement.order_by(of.updated_at, of.id)
        return statement.order_by(of.updated_at.desc(), of.id.desc())

    def beyond(self, task: Task) -> "_Stretch":
        """What of it lies behind this task."""
        key = (task.updated_at, task.id)
        return replace(self, newer_than=key) if self.backwards else replace(self, older_than=key)

    def page(self, found: list[Task], limit: int) -> Page:
        """The page of what was found in it, which is one more than `limit` where there are more."""
        more = len(found) > limit
        rows = found[:limit]
        if self.backwards:
            rows.reverse()
        first = (rows[0].updated_at, rows[0].id) if rows else None
        last = (rows[-1].updated_at, rows[-1].id) if rows else None
        newer = (first or self.older_than) if self.older_than or (self.backwards and more) else None
        if self.horizon is None or more:
            return Page(rows, newer=newer, older=last if self.backwards or more else None)
        if self.backwards:
            return Page(rows, newer=self.horizon, older=last or self.newer_than, cut_off=True)
        return Page(rows, newer=newer, older=self.horizon, cut_off=True)


def _place(key: Key) -> ColumnElement[Any]:
    moment, task_id = key
    if moment not in (FIRST_MOMENT, LAST_MOMENT):
        return tuple_(moment, task_id)
    # A moment beyond Python's years was read as its first or last one: the row has the true one.
    true_moment = select(_itself.updated_at).where(_itself.id == task_id).scalar_subquery()
    return tuple_(func.coalesce(true_moment, moment), task_id)


def _shows(task: Task, words: Sequence[str]) -> bool:
    if not words:
        return True
    # The end of an error that was cut may be part of a secret whose name, or whose own end, is cut off.
    error = masked_text(task.error_message or "")[: LONGEST_ERROR - _UNSURE].casefold()
    return all(word.casefold() in error for word in words)


def _narrowed(task_type: str | None, words: Sequence[str]) -> list[ColumnElement[bool]]:
    conditions = [Task.error_message.icontains(word, autoescape=True) for word in words]
    return conditions if task_type is None else [Task.task_type == task_type, *conditions]


def _few_that_wait(session: DbSession, task_type: str) -> CTE | None:
    """What waits of a type, by the claim index; None where that is too much to read."""
    waiting = select(Task.id, Task.state, Task.updated_at).where(Task.task_type == task_type, waits)
    if session.execute(waiting.with_only_columns(Task.id).offset(FAR).limit(1)).one_or_none():
        return None
    # Otherwise the planner, who knows nothing of a type that is rare, may go through all that waits.
    return waiting.cte("near").prefix_with("MATERIALIZED", dialect="postgresql")


def _horizon(session: DbSession, states: Sequence[TaskState], stretch: _Stretch) -> Key | None:
    """How far one page looks: the key of the `FAR`-th row of a state, the nearest of them; None of fewer."""
    found = []
    for state in states:
        far = stretch.of(select(Task.updated_at, Task.id).where(Task.state == state), Task)
        row = session.execute(far.offset(FAR - 1).limit(1)).one_or_none()
        if row is not None:
            found.append((row.updated_at, row.id))
    if not found:
        return None
    return min(found) if stretch.backwards else max(found)
