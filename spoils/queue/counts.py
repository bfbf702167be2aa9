"""`spoils_counts`: the exact number of tasks by type and state, from the deltas that triggers write."""

from collections import defaultdict
from typing import NamedTuple

from sqlalchemy import Connection, String, bindparam, cast, delete, func, insert, select, text, union_all

from spoils.models import Count, Task, TaskState
from spoils.queue import rollup

_gone = delete(Count).returning(Count.task_type, Count.state, Count.delta).cte("gone")
_ROLL_UP = insert(Count).from_select(
    ["task_type", "state", "delta"],
    select(_gone.c.task_type, _gone.c.state, func.sum(_gone.c.delta))
    .group_by(_gone.c.task_type, _gone.c.state)
    .having(func.sum(_gone.c.delta) != 0),
)
FEW = 200
_ONE_MORE = select(Count.id).offset(bindparam("few")).limit(1)
_COUNTS = select(Count.task_type, Count.state, func.sum(Count.delta)).group_by(Count.task_type, Count.state)

# One statement sees one moment: a transaction's changes of tasks and its deltas, or neither.
_both = union_all(
    select(
        cast(Task.task_type, String).label("task_type"),
        cast(Task.state, String).label("state"),
        func.count().label("delta"),
    ).group_by(Task.task_type, Task.state),
    select(Count.task_type, Count.state, -Count.delta),
).subquery("both")
_missing = func.sum(_both.c.delta)
_CORRECT = (
    insert(Count)
    .from_select(
        ["task_type", "state", "delta"],
        select(_both.c.task_type, _both.c.state, _missing)
        .group_by(_both.c.task_type, _both.c.state)
        .having(_missing != 0),
    )
    .returning(Count.task_type, Count.state, Count.delta)
)


class Correction(NamedTuple):
    """How many tasks of a type and state the count lacked; less than none where it had too many."""

    task_type: str
    state: str
    delta: int

    def __str__(self) -> str:
        return f"{self.task_type} {self.state} {self.delta:+d}"


def recount(connection: Connection) -> list[Correction]:
    """Count the tasks, and correct the counts where they differ; part of the connection's transaction.

    Nobody waits for it but a TRUNCATE, and others that recount or roll up.
    """
    # In this order: a TRUNCATE, which waits for the second lock, holds one that excludes the first.
    connection.execute(text("LOCK TABLE fang_tasks IN ACCESS SHARE MODE"))
    connection.execute(select(func.pg_advisory_xact_lock(rollup.COUNTS_LOCK)))
    return sorted(Correction(*row) for row in connection.execute(_CORRECT))


def roll_up_counts(connection: Connection, *, few: int = FEW) -> None:
    """Roll the delta rows up into one row a type and state; skipped where they are `few` or another process does it."""
    if connection.scalar(_ONE_MORE, {"few": few}) is None:
        return
    rollup.under_lock(connection, rollup.COUNTS_LOCK, _ROLL_UP)


def count_tasks(connection: Connection) -> dict[str, dict[TaskState, int]]:
    """How many tasks of each type are in each state; a type with none of any state is left out."""
    counts: dict[str, dict[TaskState, int]] = defaultdict(lambda: dict.fromkeys(TaskState, 0))
    for task_type, state, number in connection.execute(_COUNTS):
        if number:
            counts[task_type][TaskState(state)] = int(number)
    return dict(counts)
