"""API tokens that an admin makes in the dashboard: each has a name, scopes, and a secret of which a hash is kept."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from spoils.models import ApiToken
from spoils.queue import audit

MOST = 200
"""How many there may be: the page lists them all."""
PREFIX = "spl_"
NOTED_EVERY = func.make_interval(0, 0, 0, 0, 0, 1)
"""How long after a noted use another one is not noted."""


class Scope(StrEnum):
    """What a token is for."""

    READ = "read"
    ENQUEUE = "enqueue"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class FoundToken:
    """A valid token; `use_is_due` where its last use was noted too long ago."""

    id: int
    name: str
    scopes: frozenset[str]
    use_is_due: bool


def make(
    connection: Connection, name: str, scopes: Sequence[Scope], *, days: int | None, who: str
) -> str | None:
    """Create a token that expires after `days`, or never. Returns its secret, of which only the hash is stored.

    Returns None if a token of this name exists.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    values = {
        "name": name,
        "secret_hash": hash_of(secret),
        "scopes": list(scopes),
        "made_by": who,
        "expires_at": None if days is None else func.now() + func.make_interval(0, 0, 0, days),
    }
    statement = insert(ApiToken).values(values).on_conflict_do_nothing(index_elements=[ApiToken.name])
    if not connection.execute(statement).rowcount:
        return None
    audit.enter_about(connection, "make token", name, who=who, done=True)
    return secret


def revoke(connection: Connection, token_id: int, *, who: str) -> str | None:
    """Delete a token: it is refused from the commit on. Its name; None where there is none."""
    name = connection.scalar(delete(ApiToken).where(ApiToken.id == token_id).returning(ApiToken.name))
    if name is not None:
        audit.enter_about(connection, "revoke token", name, who=who, done=True)
    return name


def find(connection: Connection, secret: str) -> FoundToken | None:
    """The valid token with this secret, by one read of an index."""
    last = ApiToken.last_used_at
    use_is_due = or_(last.is_(None), last < func.now() - NOTED_EVERY)
    statement = select(ApiToken.id, ApiToken.name, ApiToken.scopes, use_is_due.label("use_is_due")).where(
        ApiToken.secret_hash == hash_of(secret),
        or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > func.now()),
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else FoundToken(row.id, row.name, frozenset(row.scopes), row.use_is_due)


def note_use(connection: Connection, token_id: int) -> None:
    """Write that the token is used now. Where another request writes it at the moment, that is enough."""
    free = select(ApiToken.id).where(ApiToken.id == token_id).with_for_update(skip_locked=True)
    connection.execute(
        update(ApiToken).where(ApiToken.id == free.scalar_subquery()).values(last_used_at=func.now())
    )


def all_tokens(connection: Connection) -> Sequence[Row[Any]]:
    """All of them, by name, the expired ones too."""
    columns = [column for column in ApiToken.__table__.columns if column.name != "secret_hash"]
    return connection.execute(select(*columns).order_by(ApiToken.name).limit(MOST)).all()


def hash_of(secret: str) -> str:
    """What is kept of a secret. It is random and long, so a fast hash suffices."""
    return hashlib.sha256(secret.encode()).hexdigest()
