"""What a worker reaches for: the pieces that claim and beat share.

One probe of the claim index for each type and priority: `task_type = ANY(…)` would sort all that waits.
The statements take `types` (task types) and `kinds` (class names) as arrays of strings, and the boolean `only_known`.
No name of a parameter may be that of a column: SQLAlchemy would then write it to the column in every UPDATE of the
statement.
"""

from sqlalchemy import (
    ARRAY,
    Boolean,
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
    not_,
    or_,
)

from spoils.models import ACTIVE, WAITING, Task

COMMON = "common"
SUSPECT_CRASHES = 2
"""From this many deaths while claimed on, a task is performed with nothing beside it."""
LEVELS = (2, 1, 0, -1, -2)
"""The priorities, the first to be served first."""

types = bindparam("types", type_=ARRAY(String))
wanted = func.unnest(types).table_valued("task_type", name="wanted").render_derived()
level = (
    func.unnest(cast(literal(list(LEVELS), ARRAY(Integer)), ARRAY(SmallInteger)))
    .table_valued("priority", name="level")
    .render_derived()
)
# As literals: the predicates of indexes, in statements whose text never changes.
waits = Task.state.in_([literal_column(f"'{state.value}'") for state in WAITING])
active = Task.state.in_([literal_column(f"'{state.value}'") for state in ACTIVE])
# fang's own workers take `common` tasks too, so of those only the classes known here are ours; and of all types while
# they share the table.
known_here = or_(
    and_(not_(bindparam("only_known", type_=Boolean)), Task.task_type != COMMON),
    Task.payload["type"].astext == any_(bindparam("kinds", type_=ARRAY(String))),
)
