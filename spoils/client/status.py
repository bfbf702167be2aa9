"""The status of a job, for the application that enqueued it."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from spoils.models import ACTIVE, Batch, Task, own_priority


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as its row stands: moments are aware, in UTC; `error` is what its last failed attempt said."""

    id: UUID
    job: str | None
    """The name of its class."""
    payload: dict[str, Any]
    state: str
    """new, in_progress, retried, finished or failed."""
    priority: int
    retries: int
    scheduled_at: datetime
    created_at: datetime
    updated_at: datetime
    error: str | None
    result: Any
    """What the job returned with `Done`; None without one."""

    @property
    def ended(self) -> bool:
        """Whether it is finished or failed."""
        return self.state not in [state.value for state in ACTIVE]


def read_status(connection: Connection, job_id: UUID) -> JobStatus | None:
    """The status of the job with this id; None where there is none, or it was removed."""
    task = Task.__table__.c
    row = connection.execute(select(Task.__table__).where(task.id == job_id)).mappings().one_or_none()
    if row is None:
        return None
    payload = dict(row["metadata"])
    return JobStatus(
        id=row["id"],
        job=payload.pop("type", None),
        payload=payload,
        state=row["state"].value,
        priority=own_priority(row["priority"]),
        retries=row["retries"],
        scheduled_at=row["scheduled_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        error=row["error_message"],
        result=row["result"],
    )


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """A batch or a chain as its row stands: moments are aware, in UTC."""

    id: UUID
    name: str | None
    created_at: datetime
    total: int
    """Its members, without the deleted ones; of a chain, the links so far."""
    active: int
    """Members that wait or run."""
    finished: int
    failed: int
    """Without the cancelled ones."""
    cancelled: int
    ended_at: datetime | None
    """When the last member ended and `then` was enqueued; None before."""

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.ended_at is not None


def read_batch_status(connection: Connection, batch_id: UUID) -> BatchStatus | None:
    """The status of the batch or chain with this id; None where there is none, or it was removed."""
    columns = [getattr(Batch, field.name) for field in fields(BatchStatus)]
    row = connection.execute(select(*columns).where(Batch.id == batch_id)).one_or_none()
    return None if row is None else BatchStatus(*row)
