"""`spoils_workers`: one row a worker process, running or stopped."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, Index, Integer, String, Uuid, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from spoils.models.base import Base

_MOMENT = DateTime(timezone=True)


class Worker(Base):
    """A worker process: what it is, its last heartbeat, and how it ended."""

    __tablename__ = "spoils_workers"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    host: Mapped[str] = mapped_column(String)
    pid: Mapped[int] = mapped_column(Integer)
    release: Mapped[str] = mapped_column(String)
    task_types: Mapped[list[str]] = mapped_column(ARRAY(String))
    threads: Mapped[int] = mapped_column(
        Integer
    )  # how many jobs it runs at a time: its threads and async jobs
    lock_key: Mapped[int | None] = mapped_column(
        BigInteger
    )  # NULL where a pooler makes session locks meaningless
    started_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    beat_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    rss: Mapped[int | None] = mapped_column(BigInteger)  # bytes
    running: Mapped[int] = mapped_column(Integer, server_default="0")
    draining: Mapped[bool] = mapped_column(Boolean, server_default="false")
    ended_at: Mapped[datetime | None] = mapped_column(_MOMENT)
    ended_how: Mapped[str | None] = mapped_column(String)  # clean, recycled, killed
    # The job classes that it knows, each with the digest of its fields; NULL: a release that did not publish them.
    job_classes: Mapped[dict[str, str] | None] = mapped_column(JSONB(none_as_null=True))

    __table_args__ = (
        # Not on beat_at: a heartbeat that changes no indexed column costs no index write.
        Index("spoils_workers_live_idx", "id", postgresql_where=text("ended_at IS NULL")),
        Index("spoils_workers_ended_idx", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    )
