"""Schedules, the record of their ticks, and pauses."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from spoils.models.base import Base

_MOMENT = DateTime(timezone=True)


class TickEnding(StrEnum):
    """The outcome of a tick."""

    ENTERED = "entered"
    SKIPPED = "skipped"  # a unique duplicate was still active, or the schedule was paused
    MISSED = "missed"  # no worker was live at its time


class Schedule(Base):
    """A cron in a zone: that of a job class (`job`), or one made at runtime, which has a `name` and a `payload`.

    `job` is NULL in the latter: earlier releases find the schedules of classes by the unique key, and those would
    meet it.
    """

    __tablename__ = "spoils_schedules"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job: Mapped[str | None] = mapped_column(String)
    cron: Mapped[str] = mapped_column(String)
    zone: Mapped[str] = mapped_column(String)
    task_type: Mapped[str] = mapped_column(String)
    settled_until: Mapped[datetime] = mapped_column(
        _MOMENT, server_default=func.now()
    )  # every tick up to here is recorded
    seen_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    name: Mapped[str | None] = mapped_column(String)
    runtime_job: Mapped[str | None] = mapped_column(String)  # the class, where it was made at runtime
    payload: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB
    )  # as it was given: other fields take defaults
    version: Mapped[int] = mapped_column(Integer, server_default="1")  # of the edits
    made_by: Mapped[str | None] = mapped_column(String)
    paused_at: Mapped[datetime | None] = mapped_column(_MOMENT)  # a class's own schedule is in spoils_pauses
    paused_by: Mapped[str | None] = mapped_column(String)
    ping_url: Mapped[str | None] = mapped_column(String)  # called after a job of a tick has finished

    __table_args__ = (UniqueConstraint("job", "cron", "zone"), UniqueConstraint("name"))

    @property
    def job_name(self) -> str:
        """The class whose job a tick enqueues."""
        return self.job or self.runtime_job or ""

    @property
    def label(self) -> str:
        """What people call it: its name, or the class whose own schedule it is."""
        return self.name or self.job or ""


class Tick(Base):
    """One tick of a schedule and its outcome. A tick of a deleted schedule goes with it."""

    __tablename__ = "spoils_ticks"

    schedule_id: Mapped[int] = mapped_column(ForeignKey(Schedule.id, ondelete="CASCADE"), primary_key=True)
    slot: Mapped[datetime] = mapped_column(_MOMENT, primary_key=True)
    outcome: Mapped[str] = mapped_column(String)
    task_id: Mapped[UUID | None] = mapped_column(Uuid)  # the task entered, or the duplicate that prevented it
    told_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    reason: Mapped[str | None] = mapped_column(String)  # paused, where that is why it was skipped
    pinged_at: Mapped[datetime | None] = mapped_column(
        _MOMENT
    )  # when the call of the schedule's URL was enqueued

    __table_args__ = (Index("spoils_ticks_slot_idx", "slot"),)


class PauseKind(StrEnum):
    """What can be paused."""

    TASK_TYPE = "task_type"  # nothing of it is claimed
    SCHEDULE = "schedule"  # its ticks are skipped; the name is the job class's


class Pause(Base):
    """A task type or a schedule that is paused until an operator resumes it."""

    __tablename__ = "spoils_pauses"

    kind: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str] = mapped_column(String, primary_key=True)
    paused_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    paused_by: Mapped[str] = mapped_column(String)
