"""Actions on many tasks: a list that is fixed once, then chunk by chunk, each one statement in its own transaction."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, delete, func, insert, select, text, update

from spoils.models import Bulk, BulkItem
from spoils.queue.actions import Change, act_on_many
from spoils.queue.edits import Mend, edit, revert
from spoils.queue.selection import LISTED, Selection, listed

CHUNK = 1_000
AT_ONCE = 200
"""Up to this many tasks are done within the request, which must not take longer than a second."""


def begin(
    connection: Connection,
    action: str,
    selection: Selection,
    *,
    who: str,
    expected: int,
    mend: Mend | None = None,
) -> UUID:
    """Enter an action on many tasks; part of the transaction. `advance` does it, at once or from a job.

    The action "mend" changes a field as `mend` says; "revert" undoes that of the bulk action `selection.trash_of`.
    """
    of_mend = {"mend": mend.as_json()} if mend else {}
    bulk_id = uuid4()
    connection.execute(
        insert(Bulk).values(
            id=bulk_id, verb=action, who=who, selection={**selection.as_json(), **of_mend}, expected=expected
        )
    )
    return bulk_id


def hand_over(connection: Connection, bulk_id: UUID, task_id: UUID) -> None:
    """Record which task of ours carries it out."""
    connection.execute(update(Bulk).where(Bulk.id == bulk_id).values(task_id=task_id))


def advance(connection: Connection, bulk_id: UUID, *, chunk: int = CHUNK) -> bool:
    """Do its next step, in the caller's transaction: make the list, or act on a chunk. Returns whether more is left.

    A worker that dies between two steps loses nothing: each step writes its progress in its own transaction.
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


def stop(connection: Connection, bulk_id: UUID) -> None:
    """End it where it is: what it has done stays done, and the rest is left alone. Part of the transaction."""
    ended = {"ended_at": func.clock_timestamp()}
    connection.execute(update(Bulk).where(Bulk.id == bulk_id, Bulk.ended_at.is_(None)).values(ended))
    connection.execute(delete(BulkItem).where(BulkItem.bulk_id == bulk_id))


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
    changes = _changes(connection, row, [(item.task_id, item.newest) for item in items])
    done = sum(change.done for change in changes)
    return done, len(changes) - done


def _changes(connection: Connection, row: Row[Any], tasks: list[tuple[UUID, bool]]) -> list[Change]:
    trash_of = UUID(row.selection["trash_of"]) if row.selection["trash_of"] else None
    task_ids = [task_id for task_id, _ in tasks]
    if row.verb == "mend":
        mend = Mend.from_json(row.selection["mend"])
        return edit(connection, mend, task_ids, who=row.who, action="mend", bulk_id=row.id)
    if row.verb == "revert":
        return revert(connection, task_ids, who=row.who, bulk_id=row.id, edited_by=trash_of)
    return act_on_many(connection, row.verb, tasks, who=row.who, bulk_id=row.id, deleted_by=trash_of)
