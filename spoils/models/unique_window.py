"""The windows within which no equal unique job is enqueued again."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CHAR, DateTime, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from spoils.models.base import Base


class UniqueWindow(Base):
    """The last task that was enqueued with a hash, and until when it stands for the next ones.

    `spoils_put` locks the row, so that of many clients one enqueues. A deleted task ends its window.
    """

    __tablename__ = "spoils_unique_windows"

    uniq_hash: Mapped[str] = mapped_column(CHAR(64), primary_key=True)
    task_id: Mapped[UUID] = mapped_column(Uuid)
    until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
