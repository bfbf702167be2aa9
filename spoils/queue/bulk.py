"""Actions on many tasks: a list that is fixed once, then chunk by chunk, each one statement in its own transaction."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, text, update

from spoils.models import Audit, Bulk, BulkItem, DbSession, Task, TaskState, Trash
from spoils.queue import failures
from spoils.queue.actions import act_on_many
from spoils.queue.selection import LISTED, Selection, found_by, listed

CHUNK = 1_000
AT_ONCE = 200
"""Up to so many tasks are done while the operator waits; a request must not take longer than a second."""


def begin(connection: Connection, action: str, selection: Selection, *, who: str, expected: int) -> UUID:
    """Enter an action on many tasks; part of the transaction. `advance` does it, at once or from a job."""
    bulk_id = uuid4()
    connection.execute(
        insert(Bulk).values(
            id=bulk_id, verb=action, who=who, selection=selection.as_json(), expected=expected
        )
    )
    return bulk_id


def hand_over(connection: Connection, bulk_id: UUID, task_id: UUID) -> None:
    """Note which task of ours does it."""
    connection.execute(update(Bulk).where(Bulk.id == bulk_id).values(task_id=task_id))


def advance(connection: Connection, bulk_id: UUID, *, chunk: int = CHUNK) -> bool:
    """Do the next step of it, part of the transaction: make the list, or act on a chunk. Whether more is left.

    Whoever dies between two steps loses nothing: how far it has come is written in each step's own transaction.
    """
    row = connection.execute(select(Bulk.__table__).where(Bulk.id == bulk_id).with_for_update()).one_or_none()
    if row is None or row.ended_at is not None:
        return False
    if row.total is None:
        return _make_list(connection, row)
    to_place = min(row.place + chunk, row.total)
    done, refused = _act(connection, row, to_place)
    ends = to_place >= row.total
    connection.execute(
        update(Bulk)
        .where(Bulk.id == bulk_id)
        .values(
            place=to_place,
            done=Bulk.done + done,
            refused=Bulk.refused + refused,
            ended_at=func.clock_timestamp() if ends else None,
        )
    )
    if ends:
        connection.execute(delete(BulkItem).where(BulkItem.bulk_id == bulk_id))
    return not ends


def some_of(selection: Selection, limit: int) -> Select[Any]:
    """Ids of up to `limit` tasks that it means, the last changed first where an index has them so."""
    if selection.group:
        return failures.newest_in(selection.group, limit)
    found = found_by(selection)
    if not selection.ids and selection.state in (TaskState.FAILED, TaskState.FINISHED):
        found = found.order_by(Task.updated_at.desc(), Task.id.desc())
    few = found.limit(limit).subquery()
    return select(few.c.id)


def find(session: DbSession, bulk_id: UUID) -> Bulk | None:
    """How far it has come."""
    return session.get(Bulk, bulk_id, populate_existing=True)


def refusals(session: DbSession, bulk_id: UUID, *, after: int = 0, limit: int = 100) -> Sequence[Audit]:
    """What was refused, in order, and with its reason; go on after the last entry's id."""
    statement = select(Audit).where(Audit.bulk_id == bulk_id, ~Audit.done, Audit.id > after)
    return session.scalars(statement.order_by(Audit.id).limit(limit)).all()


def restorable(connection: Connection, bulk_id: UUID) -> bool:
    """Whether something that it deleted is still in the trash."""
    return connection.scalar(select(Trash.id).where(Trash.bulk_id == bulk_id).limit(1)) is not None


def _make_list(connection: Connection, row: Row[Any]) -> bool:
    selection = Selection.from_json(row.selection)
    total = connection.execute(insert(BulkItem).from_select(LISTED, listed(selection, row.id))).rowcount
    if total > CHUNK:
        # Without figures on the new list the planner would take a chunk for a row or two, and loop over it.
        connection.execute(text(f"ANALYZE {BulkItem.__tablename__}"))
    ends = total == 0
    connection.execute(
        update(Bulk)
        .where(Bulk.id == row.id)
        .values(total=total, ended_at=func.clock_timestamp() if ends else None)
    )
    return not ends


def _act(connection: Connection, row: Row[Any], to_place: int) -> tuple[int, int]:
    items = connection.execute(
        select(BulkItem.task_id, BulkItem.newest)
        .where(BulkItem.bulk_id == row.id, BulkItem.place > row.place, BulkItem.place <= to_place)
        .order_by(BulkItem.place)
    )
    trash_of = row.selection["trash_of"]
    changes = act_on_many(
        connection,
        row.verb,
        [(item.task_id, item.newest) for item in items],
        who=row.who,
        bulk_id=row.id,
        deleted_by=UUID(trash_of) if trash_of else None,
    )
    done = sum(change.done for change in changes)
    return done, len(changes) - done
