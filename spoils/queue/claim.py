"""Taking tasks that are due: one statement."""

import time
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import (
    Connection,
    DateTime,
    SmallInteger,
    String,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    column,
    exists,
    func,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from spoils.db import arrays
from spoils.db.statements import Statement
from spoils.models import Task, TaskState, Worker
from spoils.queue.claim_scan import HEAD_ID, ClaimScan, Found, Probe
from spoils.queue.claim_scope import COMMON, LEVELS, SUSPECT_CRASHES, known_here, of_class_among, types, waits
from spoils.queue.settlement import Token

MOST_ATTEMPTS = 2**31 - 1
"""The largest number that the column holds."""
LATE_SECONDS = 2.0
"""How much later than its moment an insert may be committed, and still be found without a look back."""


class Claim(NamedTuple):
    """A task that this worker has taken: what performing and settling it needs.

    The id and the moments are kept as PostgreSQL prints them: tens of thousands pass through a process in a second,
    most of them only to be released.
    """

    key: str  # the id
    task_type: str
    kind: str | None  # metadata.type, where metadata is an object that has one
    metadata: str  # JSON text
    retries: int
    attempts: int
    crashes: int
    priority: int
    scheduled_at: str
    claimed_at: str
    batch_id: str | None = None
    previous: str | None = None  # JSON text

    @property
    def id(self) -> UUID:
        """The task's id."""
        return UUID(self.key)

    @property
    def token(self) -> Token:
        """With the worker's id, the fence."""
        return self.key, self.attempts, self.claimed_at

    @property
    def suspect(self) -> bool:
        """Whether it was running twice when a worker died, so that it is performed with nothing beside it."""
        return self.crashes >= SUSPECT_CRASHES


# Without a call of Python's for each of hundreds.
_PAIR = itemgetter(Claim._fields.index("task_type"), Claim._fields.index("priority"))


def _due(crashes: ColumnElement[bool]) -> ColumnElement[bool]:
    """What may be claimed now."""
    return and_(
        waits,
        Task.scheduled_at <= func.now(),
        crashes,
        known_here,
        # A worker whose row a rescue has ended must not claim: its tasks were rescued already.
        exists(
            select(Worker.id).where(
                Worker.id == cast(bindparam("worker_id", type_=Text), Uuid), Worker.ended_at.is_(None)
            )
        ),
    )


_probed = (
    func.unnest(
        arrays.parameter("probed_types", String),
        arrays.parameter("probed_levels", SmallInteger),
        arrays.parameter("since_moments", DateTime(timezone=True)),
        arrays.parameter("since_ids", Uuid),
    )
    .table_valued(
        column("task_type", String),
        column("priority", SmallInteger),
        column("moment", DateTime(timezone=True)),
        column("id", Uuid),
    )
    .render_derived(name="probed")
)
_probe = (
    select(Task.id, Task.scheduled_at)
    .where(
        Task.task_type == _probed.c.task_type,
        Task.priority == _probed.c.priority,
        tuple_(Task.scheduled_at, Task.id) > tuple_(_probed.c.moment, _probed.c.id),
        Task.scheduled_at <= cast(bindparam("until", type_=Text), DateTime(timezone=True)),
        _due(Task.crashes < SUSPECT_CRASHES),
        or_(_probed.c.task_type != COMMON, of_class_among("common_kinds")),
    )
    .order_by(Task.scheduled_at, Task.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .lateral("probe")
)
# Without an ORDER BY the probes are made one by one, in the order of the arrays, and no more once there are enough.
_probes = select(_probe.c.id).select_from(_probed.join(_probe, true())).limit(bindparam("most_of_all"))
_due_suspect = (
    select(Task.id)
    .where(
        Task.task_type == any_(types),
        Task.priority >= min(LEVELS),  # else it is under limits
        _due(Task.crashes >= SUSPECT_CRASHES),
    )
    .order_by(Task.scheduled_at, Task.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
# A lost claim is fenced, so its commit need not wait for the disk.
_relaxed = func.set_config("synchronous_commit", "off", True)
# The database's clock comes with every answer.
_CLOCK = (
    select(
        _relaxed.label("relaxed"),
        cast(func.now() - func.make_interval(0, 0, 0, 0, 0, 0, LATE_SECONDS), Text).label("behind"),
    )
    .cte("clock")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)


_taking = (
    update(Task)
    .values(
        state=TaskState.IN_PROGRESS,
        claimed_by=cast(bindparam("worker_id", type_=Text), Uuid),
        claimed_at=func.now(),
        # After the largest number comes 1: an error at an odd row would end the claims of all.
        attempts=func.mod(Task.attempts, MOST_ATTEMPTS) + 1,
        updated_at=func.now(),
    )
    .returning(
        cast(Task.id, Text).label("key"),
        Task.task_type,
        Task.payload["type"].astext.label("kind"),
        cast(Task.payload, Text).label("metadata"),
        Task.retries,
        Task.attempts,
        Task.crashes,
        Task.priority,
        cast(Task.scheduled_at, Text).label("scheduled_at"),
        cast(Task.claimed_at, Text).label("claimed_at"),
        cast(Task.batch_id, Text).label("batch_id"),
        cast(Task.previous, Text).label("previous"),
    )
)


def _take(name: str, tasks: object) -> Statement:
    due = tasks.cte("due").prefix_with("MATERIALIZED", dialect="postgresql")  # type: ignore[attr-defined]
    taken = _taking.where(Task.id == due.c.id).returning(Task.scheduled_at.label("moment")).cte("taken")
    return Statement(
        select(_CLOCK.c.behind, *[taken.c[name] for name in Claim._fields])
        .select_from(_CLOCK.outerjoin(taken, _CLOCK.c.relaxed.is_not(None)))
        # RETURNING keeps no order.
        .order_by(taken.c.priority.desc(), taken.c.moment, taken.c.key),
        name,
    )


_CLAIM = _take("claim", _probes)
_CLAIM_BY_AGE = _take("claim_by_age", _probes.order_by(_probe.c.scheduled_at, _probe.c.id))
_CLAIM_SUSPECT = _take("claim_suspect", _due_suspect)


def claim(
    connection: Connection,
    *,
    worker_id: UUID,
    scan: ClaimScan,
    kinds: Sequence[str],
    common_kinds: Sequence[str] | None = None,
    limit: int,
    paused: frozenset[str] = frozenset(),
) -> tuple[list[Claim], bool]:
    """Take up to `limit` due tasks of the scan's types, those of the highest priority first; and whether there may be
    more at once.

    In each type the oldest come first; types of equal priority take turns. Tasks of a class that is not among `kinds`
    are left to other workers, and of type `common` those that are not among `common_kinds`; those that name no class
    are taken. Types that are `paused` are left out, and so are suspects; see `claim_suspect`.
    """
    started = time.monotonic()
    probe = scan.probe(started, limit, paused)
    if not probe.pairs:
        return [], False
    rows = (_CLAIM_BY_AGE if probe.by_age else _CLAIM).rows(
        connection,
        {
            "worker_id": str(worker_id),
            "kinds": list(kinds),
            "common_kinds": list(kinds if common_kinds is None else common_kinds),
            "most_of_all": limit,
            **_arrays(probe),
        },
    )
    claims = _claims(rows)
    found = _found(claims, behind=rows[0][0])
    more = scan.learn(probe, found, limit=limit, started=started, now=time.monotonic())
    return claims if probe.by_age or len(found.given) < 2 else _by_turns(claims), more


def claim_suspect(
    connection: Connection,
    *,
    worker_id: UUID,
    task_types: Sequence[str],
    kinds: Sequence[str],
) -> list[Claim]:
    """Take the one oldest due task that was running at two deaths. The caller must have nothing else in flight."""
    values = {
        "worker_id": str(worker_id),
        "types": list(task_types),
        "kinds": list(kinds),
    }
    return _claims(_CLAIM_SUSPECT.rows(connection, values))


def _by_turns(claims: list[Claim]) -> list[Claim]:
    """In each priority one of each type, then the next of each: the one task of a type must not wait for a flood."""
    place: Counter[tuple[int, str]] = Counter()
    places = []
    for one in claims:
        places.append((-one.priority, place[one.priority, one.task_type]))
        place[one.priority, one.task_type] += 1
    return [one for _, one in sorted(zip(places, claims, strict=True), key=itemgetter(0))]


def _found(claims: Sequence[Claim], *, behind: str) -> Found:
    pairs = list(map(_PAIR, claims))
    last = dict(zip(pairs, claims, strict=True))
    ends = {pair: (one.scheduled_at, one.key) for pair, one in last.items()}
    return Found(Counter(pairs), ends, (behind, HEAD_ID))


def _claims(rows: Sequence[tuple[object, ...]]) -> list[Claim]:
    return [Claim._make(row[1:]) for row in rows if row[1] is not None]


def _arrays(probe: Probe) -> dict[str, object]:
    return {
        "probed_types": arrays.quoted([task_type for task_type, _ in probe.pairs]),
        "probed_levels": arrays.plain([level for _, level in probe.pairs]),
        "since_moments": arrays.quoted([moment for moment, _ in probe.since]),
        "since_ids": arrays.plain([task_id for _, task_id in probe.since]),
        "until": probe.until,
        "most": probe.most,
    }
