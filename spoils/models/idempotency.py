"""What was answered to a request that carried a key of its own, so that its repetition is answered alike."""

from datetime import datetime

from sqlalchemy import CHAR, DateTime, Index, SmallInteger, String, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from spoils.models.base import Base


class IdempotencyKey(Base):
    """A key, hashed together with whose it is; the request that came with it, hashed; and its answer."""

    __tablename__ = "spoils_idempotency_keys"

    key: Mapped[str] = mapped_column(CHAR(64), primary_key=True)
    request: Mapped[str] = mapped_column(CHAR(64))
    status: Mapped[int | None] = mapped_column(SmallInteger)
    answer: Mapped[str | None] = mapped_column(Text)
    location: Mapped[str | None] = mapped_column(String)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index("spoils_idempotency_keys_created_idx", "created_at"),)
