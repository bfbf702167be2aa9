"""Taking tasks that are due: one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    Connection,
    Float,
    Row,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    exists,
    func,
    select,
    true,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from spoils.models import WAITING, Task, TaskState, Worker
from spoils.queue.reach import SUSPECT_CRASHES, known_here, level, types, wanted


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that this worker has taken: what performing and settling it needs."""

    id: UUID
    task_type: str
    kind: str | None  # metadata.type, where metadata is an object that has one
    metadata: str  # JSON text
    retries: int
    attempts: int  # with the worker's id, the fencing token
    crashes: int
    scheduled_at: float  # seconds since 1970: Python's own moments begin with the year 1 and know no infinity
    claimed_at: datetime

    @property
    def token(self) -> tuple[UUID, int]:
        """What tells this claim from every other, of the same task too."""
        return self.id, self.attempts

    @property
    def suspect(self) -> bool:
        """Whether it was running twice when a worker died, so that it is performed with nothing beside it."""
        return self.crashes >= SUSPECT_CRASHES


def _due(crashes: ColumnElement[bool]) -> ColumnElement[bool]:
    """What may be claimed now."""
    return and_(
        Task.state.in_(WAITING),
        Task.scheduled_at <= func.now(),
        crashes,
        known_here,
        # A worker whose row was ended by a rescue must not take what nobody would give back.
        exists(select(Worker.id).where(Worker.id == bindparam("worker_id"), Worker.ended_at.is_(None))),
    )


_probe = (
    select(Task.id, Task.priority, Task.scheduled_at)
    .where(
        Task.task_type == wanted.c.task_type,
        Task.priority == level.c.priority,
        _due(Task.crashes < SUSPECT_CRASHES),
    )
    .order_by(Task.scheduled_at, Task.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .lateral("probe")
)
_due_tasks = (
    select(_probe.c.id)
    .select_from(wanted.join(level, true()).join(_probe, true()))
    .order_by(_probe.c.priority.desc(), _probe.c.scheduled_at, _probe.c.id)
    .limit(bindparam("limit"))
    .cte("due")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_due_suspect = (
    select(Task.id)
    .where(
        Task.task_type == any_(types),
        _due(Task.crashes >= SUSPECT_CRASHES),
    )
    .order_by(Task.scheduled_at, Task.id)
    .limit(1)
    .with_for_update(skip_locked=True)
    .cte("due")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)


def _take(due: object) -> object:
    return (
        update(Task)
        .where(Task.id == due.c.id)  # type: ignore[attr-defined]
        .values(
            state=TaskState.IN_PROGRESS,
            claimed_by=bindparam("worker_id"),
            claimed_at=func.now(),
            attempts=Task.attempts + 1,
            updated_at=func.now(),
        )
        .returning(
            Task.id,
            Task.task_type,
            Task.payload["type"].astext.label("kind"),
            cast(Task.payload, Text).label("metadata"),
            Task.retries,
            Task.attempts,
            Task.crashes,
            cast(func.extract("epoch", Task.scheduled_at), Float).label("scheduled_at"),
            Task.claimed_at,
            Task.priority,
        )
    )


_CLAIM = _take(_due_tasks)
_CLAIM_SUSPECT = _take(_due_suspect)


def claim(
    connection: Connection, *, worker_id: UUID, task_types: Sequence[str], kinds: Sequence[str], limit: int
) -> list[Claim]:
    """Take up to `limit` due tasks of `task_types`, highest priority first, then oldest.

    Of type `common`, only those whose class is among `kinds`. Suspects are left out; see `claim_suspect`.
    """
    values = {"worker_id": worker_id, "types": list(task_types), "kinds": list(kinds), "limit": limit}
    rows = connection.execute(_CLAIM, values).all()  # type: ignore[call-overload]
    # RETURNING keeps no order.
    return [_claim(row) for row in sorted(rows, key=lambda row: (-row.priority, row.scheduled_at, row.id))]


def claim_suspect(
    connection: Connection, *, worker_id: UUID, task_types: Sequence[str], kinds: Sequence[str]
) -> list[Claim]:
    """Take the one oldest due task that was running at two deaths. The caller must have nothing else in flight."""
    values = {"worker_id": worker_id, "types": list(task_types), "kinds": list(kinds)}
    return [_claim(row) for row in connection.execute(_CLAIM_SUSPECT, values)]  # type: ignore[call-overload]


def _claim(row: Row[tuple[object, ...]]) -> Claim:
    return Claim(
        id=row.id,
        task_type=row.task_type,
        kind=row.kind,
        metadata=row.metadata,
        retries=row.retries,
        attempts=row.attempts,
        crashes=row.crashes,
        scheduled_at=row.scheduled_at,
        claimed_at=row.claimed_at,
    )
