"""`spoils_batches`: one row a batch or a chain, with the counts of its members. Triggers write the counts."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Index, String, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from spoils.models.base import Base

_MOMENT = DateTime(timezone=True)


class Batch(Base):
    """Jobs that were enqueued together, or the links of a chain, and what is enqueued after them."""

    __tablename__ = "spoils_batches"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str | None] = mapped_column(String)
    created_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    condition: Mapped[str] = mapped_column(String)  # of `then` or the next link: end, success
    then_task: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB(none_as_null=True)
    )  # as spoils_put takes it
    links: Mapped[list[dict[str, Any]] | None] = mapped_column(
        JSONB(none_as_null=True)
    )  # of a chain: those that are not enqueued yet
    enqueued_id: Mapped[UUID | None] = mapped_column(
        Uuid
    )  # `then`, once it is enqueued; the last link so far
    total: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    active: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))  # new, in_progress, retried
    finished: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    failed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))  # without the cancelled ones
    cancelled: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    ended_at: Mapped[datetime | None] = mapped_column(_MOMENT)

    __table_args__ = (
        Index("spoils_batches_created_idx", "created_at", "id"),
        Index("spoils_batches_open_idx", "id", postgresql_where=text("ended_at IS NULL")),
    )
