"""`fang_tasks`: one row a task, with fang's columns first and ours after them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CHAR,
    CheckConstraint,
    DateTime,
    Enum,
    Index,
    SmallInteger,
    String,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from spoils.models.base import Base


class TaskState(StrEnum):
    """The state of a task. fang panics on a value that it does not know, so this never grows."""

    NEW = "new"  # enqueued; claim makes it in_progress
    IN_PROGRESS = "in_progress"  # claimed; settle, release or rescue ends that
    FAILED = "failed"  # ended; an operator's retry makes it new
    FINISHED = "finished"  # ended
    RETRIED = "retried"  # waiting for its next attempt; claim makes it in_progress


WAITING = (TaskState.NEW, TaskState.RETRIED)
ACTIVE = (*WAITING, TaskState.IN_PROGRESS)
LIMITED = 5
"""By how much the priority of a task under limits is below its own: no ordinary claim asks for such a priority."""


def is_limited(priority: int) -> bool:
    """Whether a task whose row has this priority is under limits."""
    return priority < -2


def own_priority(priority: int) -> int:
    """The priority with which a task was enqueued whose row has this one."""
    return priority + LIMITED if is_limited(priority) else priority


_STATES = Enum(
    TaskState,
    name="fang_task_state",
    values_callable=lambda states: [state.value for state in states],
    create_type=False,
)
_MOMENT = DateTime(timezone=True)


class Task(Base):
    """A job as it waits, runs or has ended."""

    __tablename__ = "fang_tasks"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, server_default=text("spoils_new_id()"))
    payload: Mapped[Any] = mapped_column("metadata", JSONB, nullable=False)
    error_message: Mapped[str | None] = mapped_column(Text)
    state: Mapped[TaskState] = mapped_column(_STATES, server_default="new")
    task_type: Mapped[str] = mapped_column(String, server_default="common")
    uniq_hash: Mapped[str | None] = mapped_column(CHAR(64))
    retries: Mapped[int] = mapped_column(server_default="0")
    scheduled_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())

    claimed_by: Mapped[UUID | None] = mapped_column(Uuid)
    claimed_at: Mapped[datetime | None] = mapped_column(_MOMENT)
    attempts: Mapped[int] = mapped_column(server_default="0")
    crashes: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    cancel_requested_at: Mapped[datetime | None] = mapped_column(_MOMENT)
    result: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    batch_id: Mapped[UUID | None] = mapped_column(Uuid)
    # What ended before it was enqueued: {"batch": its counts} of `then`, {"result": …} of a link of a chain.
    previous: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    uniq_waiting: Mapped[bool | None]  # true: the hash counts only while the task waits

    @property
    def limited(self) -> bool:
        """Whether it is under limits."""
        return is_limited(self.priority)

    @property
    def own_priority(self) -> int:
        """The priority with which it was enqueued."""
        return own_priority(self.priority)

    __table_args__ = (
        CheckConstraint("priority BETWEEN -7 AND 2", name="priority"),  # see LIMITED
        Index(
            "fang_tasks_claim_idx",
            "task_type",
            text("priority DESC"),
            "scheduled_at",
            "id",
            postgresql_where=text("state IN ('new', 'retried')"),
        ),
        Index(
            "fang_tasks_active_hash_idx",
            "uniq_hash",
            unique=True,
            # While Rust workers share the table the migration leaves in_progress out: fang inserts a duplicate of a
            # running task. Most tasks have no hash, and each change of state would enter it anew.
            postgresql_where=text(
                "uniq_hash IS NOT NULL AND "
                "(state IN ('new', 'retried') OR state = 'in_progress' AND uniq_waiting IS NOT TRUE)"
            ),
        ),
        Index("fang_tasks_running_idx", "claimed_by", postgresql_where=text("state = 'in_progress'")),
        # With what groups of failures and lists of a type ask of it, which then need not read the rows.
        Index(
            "fang_tasks_failed_idx",
            "updated_at",
            "id",
            postgresql_include=["attempts", "task_type"],
            postgresql_where=text("state = 'failed'"),
        ),
        # So that the list of what waits is not a sort of all of it.
        Index(
            "fang_tasks_waiting_idx",
            "state",
            "updated_at",
            "id",
            postgresql_where=text("state IN ('new', 'retried')"),
        ),
        Index("fang_tasks_finished_idx", "updated_at", "id", postgresql_where=text("state = 'finished'")),
        Index(
            "fang_tasks_suspect_idx",
            "scheduled_at",
            postgresql_where=text("crashes >= 2 AND state IN ('new', 'retried')"),
        ),
        Index(
            "fang_tasks_batch_idx",
            "batch_id",
            "state",
            "updated_at",
            "id",
            postgresql_where=text("batch_id IS NOT NULL"),
        ),
    )
