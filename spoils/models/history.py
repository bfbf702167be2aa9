"""What is written beside a task: its attempts, their output, its steps, and the deltas that counts and charts sum."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from spoils.models.base import Base

_MOMENT = DateTime(timezone=True)


class Attempt(Base):
    """One attempt that did not finish; the finishing one is the task's own row."""

    __tablename__ = "spoils_attempts"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    task_id: Mapped[UUID] = mapped_column(Uuid)
    attempt: Mapped[int] = mapped_column(Integer)  # the task's `attempts` at that time: 1 is the first claim
    task_type: Mapped[str] = mapped_column(String)
    outcome: Mapped[str] = mapped_column(String)
    worker_id: Mapped[UUID | None] = mapped_column(Uuid)
    release: Mapped[str | None] = mapped_column(String)
    claimed_at: Mapped[datetime | None] = mapped_column(_MOMENT)
    ended_at: Mapped[datetime] = mapped_column(_MOMENT)
    ran_ms: Mapped[int | None] = mapped_column(BigInteger)
    delay_ms: Mapped[int | None] = mapped_column(BigInteger)  # until it was due again
    error_class: Mapped[str | None] = mapped_column(String)
    message: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)
    fingerprint: Mapped[str | None] = mapped_column(String)

    __table_args__ = (
        Index("spoils_attempts_task_idx", "task_id", "attempt"),
        Index("spoils_attempts_fingerprint_idx", "fingerprint", "ended_at"),
        Index("spoils_attempts_ended_idx", "ended_at"),
        # The attempts that failed their tasks, by group: read without the rows, which their tracebacks make wide.
        Index(
            "spoils_attempts_last_idx",
            "fingerprint",
            "task_id",
            "attempt",
            postgresql_where=text("outcome IN ('failed', 'crashed', 'cancelled')"),
        ),
    )


class Step(Base):
    """A step that an attempt has done, with its result, which later attempts of the task get."""

    __tablename__ = "spoils_steps"

    task_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(String, primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer)  # as in `spoils_attempts`
    result: Mapped[Any] = mapped_column(JSONB)
    ran_ms: Mapped[int] = mapped_column(BigInteger)
    done_at: Mapped[datetime] = mapped_column(_MOMENT)


class Output(Base):
    """What an attempt reports while it runs: its progress, and its last log lines (see `spoils.queue.outputs`)."""

    __tablename__ = "spoils_outputs"

    task_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    done: Mapped[float | None] = mapped_column(Double)
    total: Mapped[float | None] = mapped_column(Double)
    note: Mapped[str | None] = mapped_column(Text)
    lines: Mapped[list[Any]] = mapped_column(JSONB)  # [milliseconds from the start of the attempt, text]
    updated_at: Mapped[datetime] = mapped_column(_MOMENT)


class Minute(Base):
    """Delta rows: how many attempts ended how in a minute, by bucket of run time (see `spoils.queue.minute_stats`)."""

    __tablename__ = "spoils_minutes"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    minute: Mapped[datetime] = mapped_column(_MOMENT)
    task_type: Mapped[str] = mapped_column(String)
    outcome: Mapped[str] = mapped_column(String)
    bucket: Mapped[int] = mapped_column(SmallInteger)
    count: Mapped[int] = mapped_column(BigInteger)
    ran_ms: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index("spoils_minutes_minute_idx", "minute"),)


class Quarter(Base):
    """The minutes of a quarter of an hour in one row a type and outcome, so that a week is quick to draw."""

    __tablename__ = "spoils_quarters"

    quarter: Mapped[datetime] = mapped_column(_MOMENT, primary_key=True)
    task_type: Mapped[str] = mapped_column(String, primary_key=True)
    outcome: Mapped[str] = mapped_column(String, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    ran_ms: Mapped[int] = mapped_column(BigInteger)
    buckets: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))  # of run time, those that hold any
    counts: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))  # how many each of them holds


class Total(Base):
    """All attempts that ended before `until`, which outlive their minutes (see `spoils.queue.total_rollups`)."""

    __tablename__ = "spoils_totals"

    task_type: Mapped[str] = mapped_column(String, primary_key=True)
    outcome: Mapped[str] = mapped_column(String, primary_key=True)
    bucket: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    ran_ms: Mapped[int] = mapped_column(BigInteger)
    until: Mapped[datetime] = mapped_column(_MOMENT)  # the last of all rows holds for the table


class BacklogSample(Base):
    """How many tasks of a type waited in a minute, for an hour (see `spoils.queue.backlog_samples`)."""

    __tablename__ = "spoils_backlog"

    minute: Mapped[datetime] = mapped_column(_MOMENT, primary_key=True)
    task_type: Mapped[str] = mapped_column(String, primary_key=True)
    waiting: Mapped[int] = mapped_column(BigInteger)
    counted_at: Mapped[datetime] = mapped_column(_MOMENT)


class Count(Base):
    """Delta rows from the table's triggers: their sum by type and state is the exact number of tasks."""

    __tablename__ = "spoils_counts"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    task_type: Mapped[str] = mapped_column(String)
    state: Mapped[str] = mapped_column(String)
    delta: Mapped[int] = mapped_column(BigInteger)
