"""`spoils_counts`: the exact number of tasks by type and state, from the deltas that triggers write."""

from collections import defaultdict

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from spoils.models import Count, TaskState
from spoils.queue import folding

_gone = delete(Count).returning(Count.task_type, Count.state, Count.delta).cte("gone")
_FOLD = insert(Count).from_select(
    ["task_type", "state", "delta"],
    select(_gone.c.task_type, _gone.c.state, func.sum(_gone.c.delta))
    .group_by(_gone.c.task_type, _gone.c.state)
    .having(func.sum(_gone.c.delta) != 0),
)
FEW = 200
_ONE_MORE = select(Count.id).offset(bindparam("few")).limit(1)
_COUNTS = select(Count.task_type, Count.state, func.sum(Count.delta)).group_by(Count.task_type, Count.state)


def fold_counts(connection: Connection, *, few: int = FEW) -> None:
    """Fold the delta rows into one row a type and state; skipped where they are `few`, or another process does it."""
    if connection.scalar(_ONE_MORE, {"few": few}) is None:
        return
    folding.under_lock(connection, folding.COUNTS_LOCK, _FOLD)


def count_tasks(connection: Connection) -> dict[str, dict[TaskState, int]]:
    """How many tasks of each type stand in each state; a type with none of any state is left out."""
    counts: dict[str, dict[TaskState, int]] = defaultdict(lambda: dict.fromkeys(TaskState, 0))
    for task_type, state, number in connection.execute(_COUNTS):
        if number:
            counts[task_type][TaskState(state)] = int(number)
    return dict(counts)
