"""Finding jobs by what no index holds: bounded, so that it takes milliseconds at any size of the table.

It looks at the jobs of one unique hash that wait or run (there is an index), and at those of each state that changed
last. Pages say so, with `REACH` and `REACH_OF_ENDED`.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, func, select, union
from sqlalchemy.orm import Session, aliased

from spoils.masking import masked
from spoils.models import Task, TaskState
from spoils.queue.claim_scope import holds_hash
from spoils.reports.brief_tasks import brief_tasks, tasks_by_id

FAR = 5_000
MOST_FOUND = 1_000
"""The most candidates that are read for one page of results."""
REACH = f"Searched the {FAR:,} jobs of each state that changed last."
REACH_OF_ENDED = f"among waiting and running jobs, the last {FAR:,} failed and the last {FAR:,} finished ones"
ENDED = (TaskState.FAILED, TaskState.FINISHED)

Condition = Callable[[Any], ColumnElement[bool]]


def with_field(session: Session, field: str, values: Collection[str], limit: int = 50) -> Sequence[Task]:
    """Jobs whose payload shows one of `values` under `field`, the last changed first."""
    near = [_near(state, lambda task: task.payload[field].astext.in_(values)) for state in TaskState]
    shown: list[Task] = []
    # Looked for once, and read in parts: most show what they were found by.
    ids = session.scalars(_newest(near, MOST_FOUND)).all()
    for begin in range(0, len(ids), limit):
        part = ids[begin : begin + limit]
        found = tasks_by_id(session, part)
        shown += [found[each] for each in part if each in found and _shows(found[each].payload, field)]
        if len(shown) >= limit:
            break
    return shown[:limit]


def with_hash(session: Session, uniq_hash: str, limit: int = 10) -> Sequence[Task]:
    """Jobs of this unique hash, the last changed first."""
    ended = [_near(state, lambda task: task.uniq_hash == uniq_hash) for state in ENDED]
    active = select(Task.id).where(Task.uniq_hash == uniq_hash, holds_hash())
    return _last_changed(session, [*ended, active], limit)


def with_short_id(session: Session, short_id: str) -> Task | None:
    """The job whose id ends so, if it is among those that changed last; of several the last changed."""
    found = meeting(session, lambda task: func.right(cast(task.id, Text), len(short_id)) == short_id, limit=1)
    return next(iter(found), None)


def meeting(session: Session, condition: Condition, limit: int = 10) -> Sequence[Task]:
    """Jobs that meet a condition on a task, the last changed first."""
    return _last_changed(session, [_near(state, condition) for state in TaskState], limit)


def _shows(payload: Any, field: str) -> bool:
    """Whether pages show that field: another one may name it as a secret. Of a payload left out it is not known."""
    whole = payload if field in payload else {"name": "secret", field: ""}
    return bool(masked(whole)[field] == whole[field])


def _near(state: TaskState, condition: Condition) -> Select[Any]:
    rows = select(Task).where(Task.state == state).limit(FAR)
    if state is not TaskState.IN_PROGRESS:  # all others have an index by time
        rows = rows.order_by(Task.updated_at.desc(), Task.id.desc())
    task = aliased(Task, rows.subquery())
    return select(task.id).where(condition(task))


def _last_changed(session: Session, ids: Sequence[Select[Any]], limit: int) -> Sequence[Task]:
    return brief_tasks(session, _newest(ids, limit, of=Task))


def _newest(ids: Sequence[Select[Any]], limit: int, of: Any = Task.id) -> Select[Any]:
    newest = select(of).where(Task.id.in_(union(*ids))).order_by(Task.updated_at.desc(), Task.id)
    return newest.limit(limit)
