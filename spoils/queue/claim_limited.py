"""Taking tasks under limits.

The function `spoils_claim_limited` looks through `spoils_parked`, key by key from where the last call ended, and takes
the next tasks of each key that has a free place. One call at a time in the whole fleet: each counts what the one before
has claimed, so no two can take the same place. A place is a row of `spoils_limit_places`, which the triggers of
`fang_tasks` insert and delete with the change of the task's state. So it is free again when the task leaves
in_progress, however that happened.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Boolean, Connection, Integer, String, Text, Uuid, bindparam, cast, column, func, select

from spoils.db import arrays
from spoils.db.statements import Statement
from spoils.models import Parked
from spoils.queue.claim import Claim
from spoils.queue.claim_scope import SUSPECT_CRASHES

SWEEP = 20
"""How many keys one call looks at from where the last one ended."""
MOST_KEYS = 100

_claimed = func.spoils_claim_limited(
    cast(bindparam("worker_id", type_=Text), Uuid),
    arrays.parameter("known_types", String),
    arrays.parameter("known_kinds", String),
    arrays.parameter("common_kinds", String),
    cast(bindparam("most"), Integer),
    arrays.parameter("named", String),
    cast(bindparam("after", type_=Text), String),
    cast(bindparam("sweep"), Integer),
    cast(bindparam("isolated"), Boolean),
    cast(bindparam("bound"), Boolean),
).table_valued(*[column(name) for name in (*Claim._fields, "at_key", "again_in")], name="claimed")
_CLAIM = Statement(select(*_claimed.c), "claim_limited")

_some = select(Parked.key).distinct().limit(MOST_KEYS)
_DUE = Statement(
    _some.where(
        Parked.scheduled_at.between(
            func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, 1), func.clock_timestamp()
        )
    ),
    "due_keys",
)
_SUSPECT = Statement(_some.where(Parked.crashes >= SUSPECT_CRASHES), "suspect_keys")


def due_keys(connection: Connection) -> list[str]:
    """Keys for which tasks wait that fell due within the last second."""
    return [key for (key,) in _DUE.rows(connection, {})]


def suspect_keys(connection: Connection) -> list[str]:
    """Keys for which tasks wait that were running at two deaths."""
    return [key for (key,) in _SUSPECT.rows(connection, {})]


class LimitedClaims(NamedTuple):
    """What a call took; the key at which its sweep ended; and of full keys in how many seconds they have room, where
    the clock decides that. `busy`: it took none, because another call was under way.
    """

    claims: list[Claim]
    reached: str
    again_in: dict[str, float]
    busy: bool = False


def claim_limited(
    connection: Connection,
    *,
    worker_id: UUID,
    task_types: Iterable[str],
    kinds: Sequence[str],
    common_kinds: Sequence[str] | None = None,
    limit: int,
    named: Iterable[str] = (),
    after: str = "",
    sweep: int = SWEEP,
    isolated: bool = False,
    bound: bool = True,
) -> LimitedClaims:
    """Take up to `limit` due tasks under limits, whose keys have free places.

    It looks at `sweep` keys behind the key `after`, then at those `named`: keys in which something has changed. Of each
    key the highest priority comes first, then the oldest. `isolated` takes suspects only, as `claim_suspect` does.
    Without `bound` limits do not count.
    """
    rows = _CLAIM.rows(
        connection,
        {
            "worker_id": str(worker_id),
            "known_types": arrays.quoted(task_types),
            "known_kinds": arrays.quoted(kinds),
            "common_kinds": arrays.quoted(kinds if common_kinds is None else common_kinds),
            "most": limit,
            "named": arrays.quoted(named),
            "after": after,
            "sweep": sweep,
            "isolated": isolated,
            "bound": bound,
        },
    )
    claims, again_in, reached = [], {}, after
    for *values, key, seconds in rows:
        if values[0] is not None:
            claims.append(Claim._make(values))
        elif seconds is not None:
            again_in[key] = seconds
        elif key is not None:
            reached = key
        else:
            return LimitedClaims([], after, {}, busy=True)
    return LimitedClaims(claims, reached, again_in)
