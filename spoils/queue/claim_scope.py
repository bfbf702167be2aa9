"""Which tasks a worker may claim: the pieces that the claim and the heartbeat share.

One probe of the claim index for each type and priority: `task_type = ANY(…)` would sort all that waits.
The statements take `types` (task types) and `kinds` (names of job classes) as arrays of strings.
No name of a parameter may be that of a column: SQLAlchemy would then write it to the column in every UPDATE of the
statement.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    Integer,
    SmallInteger,
    String,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    or_,
)
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import TableValuedAlias

from spoils.models import LIMITED, WAITING, Task, TaskState

COMMON = "common"
SUSPECT_CRASHES = 2
"""From this many deaths while claimed on, a task is performed with nothing beside it."""
LEVELS = (2, 1, 0, -1, -2)
"""The priorities, the first to be served first."""

types = bindparam("types", type_=ARRAY(String))
wanted = func.unnest(types).table_valued("task_type", name="wanted").render_derived()
LIMITED_LEVELS = tuple(priority - LIMITED for priority in LEVELS)
"""The same under limits."""


def _levels(priorities: tuple[int, ...], name: str) -> TableValuedAlias:
    return (
        func.unnest(cast(literal(list(priorities), ARRAY(Integer)), ARRAY(SmallInteger)))
        .table_valued("priority", name=name)
        .render_derived()
    )


level = _levels(LEVELS, "level")
limited_level = _levels(LIMITED_LEVELS, "level")
any_level = _levels((*LEVELS, *LIMITED_LEVELS), "level")
# As literals: the predicates of indexes, in statements whose text never changes.
_WAITING: list[ColumnElement[Any]] = [literal_column(f"'{state.value}'") for state in WAITING]
_RUNNING: ColumnElement[Any] = literal_column(f"'{TaskState.IN_PROGRESS.value}'")
waits = Task.state.in_(_WAITING)
active = Task.state.in_([*_WAITING, _RUNNING])


def holds_hash(task: Any = Task) -> ColumnElement[bool]:
    """The predicate of the unique index: a task that is unique only while it waits is no duplicate while it runs.

    Beside Rust workers the index leaves out all that runs.
    """
    return and_(
        task.uniq_hash.is_not(None),
        or_(task.state.in_(_WAITING), and_(task.state == _RUNNING, task.uniq_waiting.is_not(True))),
    )


def of_class_among(kinds: str) -> ColumnElement[bool]:
    """Whether the class of a row is in the array of that name. A row that names no class is nobody's, so it is in every
    one, and whoever claims it fails it.
    """
    return or_(
        Task.payload["type"].astext == any_(bindparam(kinds, type_=ARRAY(String))),
        func.jsonb_typeof(Task.payload["type"]).is_distinct_from("string"),
    )


# A row of another class is left to the workers that know it: those of another release, or fang's.
known_here = of_class_among("kinds")
