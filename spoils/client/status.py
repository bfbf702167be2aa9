"""The status of a job, for the application that enqueued it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from spoils.models import ACTIVE, Task, own_priority


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
