"""Keys that make a request count once: taken, answered and kept in the transaction of what it does."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, null, select, update
from sqlalchemy.dialects.postgresql import insert

from spoils.models import IdempotencyKey

HELD_HOURS = 24


@dataclass(frozen=True, slots=True)
class Kept:
    """What came with a key before, and what was answered to it."""

    request: str
    status: int
    answer: str
    location: str | None


_new = insert(IdempotencyKey).values(key=bindparam("of"), request=bindparam("sent"))
_TAKE = _new.on_conflict_do_update(
    index_elements=["key"],
    set_={
        "request": _new.excluded.request,
        "created_at": func.now(),
        "status": null(),
        "answer": null(),
        "location": null(),
    },
    # This waits for another open transaction that has taken the key.
    where=IdempotencyKey.created_at < func.now() - func.make_interval(0, 0, 0, 0, HELD_HOURS),
).returning(IdempotencyKey.key)
_KEPT = select(
    IdempotencyKey.request, IdempotencyKey.status, IdempotencyKey.answer, IdempotencyKey.location
).where(IdempotencyKey.key == bindparam("of"))
_KEEP = (
    update(IdempotencyKey)
    .where(IdempotencyKey.key == bindparam("of"))
    .values(status=bindparam("told"), answer=bindparam("said"), location=bindparam("at"))
)


def take(connection: Connection, key: str, request: str) -> Kept | None:
    """Take the key for this request, or return what it was taken for within the last 24 h."""
    if connection.execute(_TAKE, {"of": key, "sent": request}).one_or_none() is not None:
        return None
    row = connection.execute(_KEPT, {"of": key}).one()
    return Kept(row.request, row.status, row.answer, row.location)


def keep(connection: Connection, key: str, *, status: int, answer: str, location: str | None) -> None:
    """Record the answer, in the transaction that took the key."""
    connection.execute(_KEEP, {"of": key, "told": status, "said": answer, "at": location})
