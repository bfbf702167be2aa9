"""Limits: which there are, what waits for them, and the places that are taken."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Identity, Index, Integer, SmallInteger, String, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION
from sqlalchemy.orm import Mapped, mapped_column

from spoils.models.base import Base

_MOMENT = DateTime(timezone=True)


class Limit(Base):
    """One limit of a job class, as the worker that has started last published it."""

    __tablename__ = "spoils_limits"

    job: Mapped[str] = mapped_column(String, primary_key=True)
    label: Mapped[str] = mapped_column(String, primary_key=True)  # the keys of tasks begin with it
    place: Mapped[int] = mapped_column(SmallInteger)  # among the limits of the class
    fields: Mapped[list[str]] = mapped_column(ARRAY(String))
    hashed: Mapped[bool]  # whether a field holds a secret
    at_once: Mapped[int | None] = mapped_column(Integer)
    rate: Mapped[int | None] = mapped_column(Integer)
    per: Mapped[float | None] = mapped_column(DOUBLE_PRECISION)  # seconds
    published_at: Mapped[datetime] = mapped_column(_MOMENT)

    __table_args__ = (Index("spoils_limits_label_idx", "label", "published_at"),)


class Parked(Base):
    """A task under limits that waits. The trigger `spoils_limited_changed` writes it."""

    __tablename__ = "spoils_parked"

    task_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    key: Mapped[str] = mapped_column(String)  # the one of its keys that it waits for
    task_type: Mapped[str] = mapped_column(String)
    kind: Mapped[str | None] = mapped_column(String)  # its job class
    priority: Mapped[int] = mapped_column(SmallInteger)
    scheduled_at: Mapped[datetime] = mapped_column(_MOMENT)
    crashes: Mapped[int] = mapped_column(SmallInteger)

    __table_args__ = (
        Index("spoils_parked_key_idx", "key", "task_type", "priority", "scheduled_at", "task_id"),
        Index("spoils_parked_due_idx", "scheduled_at"),
    )


class LimitPlace(Base):
    """A place that a task has taken of a key: while it runs, or of a rate until `free_at`. The trigger writes it."""

    __tablename__ = "spoils_limit_places"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    key: Mapped[str] = mapped_column(String)
    task_id: Mapped[UUID] = mapped_column(Uuid)
    free_at: Mapped[datetime | None] = mapped_column(_MOMENT)

    __table_args__ = (
        Index("spoils_limit_places_key_idx", "key", "free_at"),
        Index("spoils_limit_places_task_idx", "task_id"),
    )


class HoldKind(StrEnum):
    """What a job can hold."""

    TASK_TYPE = "task_type"
    KEY = "key"  # of a limit


class Hold(Base):
    """A task type or a key of a limit of which nothing is claimed until a moment: a job has asked for it."""

    __tablename__ = "spoils_holds"

    kind: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str] = mapped_column(String, primary_key=True)
    until: Mapped[datetime] = mapped_column(_MOMENT)
