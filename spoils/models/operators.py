"""What operators do: the audit log, the trash, bulk actions, logouts, API tokens, and alerts."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CHAR,
    BigInteger,
    Boolean,
    DateTime,
    Identity,
    Index,
    Integer,
    String,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from spoils.models.base import Base

_MOMENT = DateTime(timezone=True)


class Audit(Base):
    """One action, on a task as a rule: who, when, what, whether it was done, and the task before and after."""

    __tablename__ = "spoils_audit"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    who: Mapped[str] = mapped_column(String)
    verb: Mapped[str] = mapped_column(String)
    task_id: Mapped[UUID | None] = mapped_column(Uuid)
    about: Mapped[str | None] = mapped_column(String)  # a type, a schedule or a worker, where it is no task
    bulk_id: Mapped[UUID | None] = mapped_column(Uuid)
    done: Mapped[bool] = mapped_column(Boolean)
    note: Mapped[str | None] = mapped_column(Text)  # of a refusal, its reason
    twin: Mapped[UUID | None] = mapped_column(
        Uuid
    )  # the task that stood in the way, or that this one was made from
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)

    __table_args__ = (
        Index("spoils_audit_task_idx", "task_id", "id"),
        Index("spoils_audit_at_idx", "at"),
        # One entry for each action: those of the tasks of a bulk action are left out.
        Index("spoils_audit_verbs_idx", "id", postgresql_where=text("task_id IS NULL OR bulk_id IS NULL")),
        Index("spoils_audit_refused_idx", "bulk_id", "id", postgresql_where=text("NOT done")),
    )


class Trash(Base):
    """A deleted task, whole, for as long as its delete can be undone."""

    __tablename__ = "spoils_trash"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    task_id: Mapped[UUID] = mapped_column(Uuid)
    task: Mapped[dict[str, Any]] = mapped_column(JSONB)  # the row, by column
    bulk_id: Mapped[UUID | None] = mapped_column(Uuid)
    deleted_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())

    __table_args__ = (
        Index("spoils_trash_task_idx", "task_id", "id"),
        Index("spoils_trash_bulk_idx", "bulk_id", postgresql_where=text("bulk_id IS NOT NULL")),
        Index("spoils_trash_deleted_idx", "deleted_at"),
    )


class Bulk(Base):
    """An action on many tasks, and how far it has come."""

    __tablename__ = "spoils_bulks"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    verb: Mapped[str] = mapped_column(String)
    who: Mapped[str] = mapped_column(String)
    selection: Mapped[dict[str, Any]] = mapped_column(JSONB)
    expected: Mapped[int] = mapped_column(BigInteger)  # what its preview counted
    total: Mapped[int | None] = mapped_column(BigInteger)  # tasks in its list, once that is made
    place: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))  # up to which the list is done
    done: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    refused: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    task_id: Mapped[UUID | None] = mapped_column(
        Uuid
    )  # the task of ours that does it; none where it was done at once
    created_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    ended_at: Mapped[datetime | None] = mapped_column(_MOMENT)

    __table_args__ = (Index("spoils_bulks_created_idx", "created_at"),)


class BulkItem(Base):
    """One task of the list of a bulk, which is fixed when the bulk action begins and deleted when it has ended."""

    __tablename__ = "spoils_bulk_items"

    bulk_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    place: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    task_id: Mapped[UUID] = mapped_column(Uuid)
    newest: Mapped[bool] = mapped_column(
        Boolean, server_default="true"
    )  # of the list's duplicates of one hash


class Logout(Base):
    """A login that a logout has ended: no cookie of it counts any more."""

    __tablename__ = "spoils_logouts"

    login: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())


class ApiToken(Base):
    """A token of the API that an admin has made; a revoked one is deleted."""

    __tablename__ = "spoils_api_tokens"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String, unique=True)
    secret_hash: Mapped[str] = mapped_column(CHAR(64), unique=True)  # SHA-256
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String))
    made_by: Mapped[str] = mapped_column(String)
    made_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(_MOMENT)
    last_used_at: Mapped[datetime | None] = mapped_column(_MOMENT)


class Alert(Base):
    """An incident that operators are notified of once, however many workers see it."""

    __tablename__ = "spoils_alerts"

    key: Mapped[str] = mapped_column(String, primary_key=True)
    sentence: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    next_try_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    sent_at: Mapped[datetime | None] = mapped_column(_MOMENT)
