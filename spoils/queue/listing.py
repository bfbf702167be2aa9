"""A list of tasks, a page at a time, by what an index holds or by looking at so many rows; each page tells which."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, select, tuple_, union_all

from spoils.models import WAITING, Task, TaskState
from spoils.queue.inspect import Session
from spoils.queue.reach import waits

PAGE = 50
FAR = 10_000
"""No index holds jobs by type and change, or by words: so many of a state are looked at for one page of them."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of tasks, newest change first, and the keys to go on from: (updated_at, id)."""

    tasks: Sequence[Task]
    newer: tuple[datetime, UUID] | None
    older: tuple[datetime, UUID] | None
    cut_off: bool = False
    """Whether the search ended after the `FAR` rows of a state; the key then leads on from there."""


def page_of_tasks(
    session: Session,
    *,
    state: TaskState | None = None,
    task_type: str | None = None,
    words: Sequence[str] = (),
    older_than: tuple[datetime, UUID] | None = None,
    newer_than: tuple[datetime, UUID] | None = None,
    limit: int = PAGE,
) -> Page:
    """One page, keyset both ways: pass a page's `older` as `older_than`, or its `newer` as `newer_than`.

    With `words` only those whose error has all of them, in letters of either case.
    """
    backwards = newer_than is not None
    states = (state,) if state else tuple(TaskState)
    conditions = _narrowed(task_type, words)
    near = _few_that_wait(session, task_type) if task_type is not None and not words else None
    horizon = None
    if conditions:
        far = [
            one for one in states if one is not TaskState.IN_PROGRESS and (near is None or one not in WAITING)
        ]
        horizon = _horizon(session, far, older_than=older_than, newer_than=newer_than)
    one_each: list[Select[Any]] = []
    for one in states:
        # A limited probe a state, each by an index of its own; what runs is sorted, being little.
        of = near.c if near is not None and one in WAITING else Task
        key = tuple_(of.updated_at, of.id)
        probe = select(of.id).where(of.state == one)
        if of is Task:
            probe = probe.where(*conditions)
        if older_than is not None:
            probe = probe.where(key < tuple_(*older_than))
        if newer_than is not None:
            probe = probe.where(key > tuple_(*newer_than))
        if horizon is not None:
            probe = probe.where(key <= tuple_(*horizon) if backwards else key >= tuple_(*horizon))
        probe = probe.order_by(*_order(of, backwards=backwards))
        one_each.append(probe.limit(limit + 1).subquery().select())
    chosen = one_each[0] if len(one_each) == 1 else union_all(*one_each)
    statement = select(Task).where(Task.id.in_(chosen)).order_by(*_order(Task, backwards=backwards))
    rows = list(session.scalars(statement.limit(limit + 1)))
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
        newer=(first or older_than) if (older_than is not None or (backwards and more)) else None,
        older=last if (backwards or more) else None,
    )


def _order(of: Any, *, backwards: bool) -> tuple[ColumnElement[Any], ...]:
    return (of.updated_at, of.id) if backwards else (of.updated_at.desc(), of.id.desc())


def _narrowed(task_type: str | None, words: Sequence[str]) -> list[ColumnElement[bool]]:
    conditions = [Task.error_message.icontains(word, autoescape=True) for word in words]
    return conditions if task_type is None else [Task.task_type == task_type, *conditions]


def _few_that_wait(session: Session, task_type: str) -> CTE | None:
    """What waits of a type, by the claim index; None where that is too much to read."""
    waiting = select(Task.id, Task.state, Task.updated_at).where(Task.task_type == task_type, waits)
    if session.execute(waiting.with_only_columns(Task.id).offset(FAR).limit(1)).one_or_none():
        return None
    # Otherwise the planner, who knows nothing of a type that is rare, may go through all that waits.
    return waiting.cte("near").prefix_with("MATERIALIZED", dialect="postgresql")


def _horizon(
    session: Session,
    states: Sequence[TaskState],
    *,
    older_than: tuple[datetime, UUID] | None,
    newer_than: tuple[datetime, UUID] | None,
) -> tuple[datetime, UUID] | None:
    """How far one page looks: the key of the `FAR`-th row of a state, the nearest of them; None of fewer."""
    key = tuple_(Task.updated_at, Task.id)
    found = []
    for state in states:
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
