"""Which tasks a bulk action applies to: some by their ids, or all that a filter finds at a moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    DateTime,
    Select,
    Uuid,
    cast,
    func,
    literal,
    null,
    or_,
    select,
)

from spoils.job.registry import registry
from spoils.models import ACTIVE, Bulk, BulkItem, Task, TaskState, Trash
from spoils.queue import failures
from spoils.queue.counts import count_tasks

OWN_TYPE = "bulk"
"""The task type of the job that carries out bulk actions: no filter finds it, so that none ends itself."""


def left_out(selection: "Selection") -> frozenset[str]:
    """The task types that a filter does not find: of all jobs of a state also none of the queue's own, as in lists."""
    whole_state = selection.task_type is None and not (selection.group or selection.batch)
    return registry.own_types() | {OWN_TYPE} if whole_state else frozenset({OWN_TYPE})


@dataclass(frozen=True, slots=True)
class Selection:
    """Either `ids`, or `trash_of` (what that bulk deleted), or the rest: a filter as it was at `until`, of what had
    changed `since` then.

    `active` means the three states of jobs that wait or run.
    """

    ids: tuple[UUID, ...] = ()
    trash_of: UUID | None = None
    state: TaskState | None = None
    task_type: str | None = None
    group: str | None = None
    batch: UUID | None = None
    active: bool = False
    until: datetime | None = None
    since: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "ids": [str(one) for one in self.ids],
            "trash_of": str(self.trash_of) if self.trash_of else None,
            "state": self.state.value if self.state else None,
            "type": self.task_type,
            "group": self.group,
            "batch": str(self.batch) if self.batch else None,
            "active": self.active,
            "until": self.until.isoformat() if self.until else None,
            "since": self.since.isoformat() if self.since else None,
        }

    def words(self, number: int) -> str:
        """What it means and how many there are, for a sentence."""
        state = f"{self.state.value.replace('_', ' ')} " if self.state else "active " * self.active
        of_type = f" of type {self.task_type}" if self.task_type else ""
        of_group = f" of group {self.group}" if self.group else ""
        of_batch = f" of batch {self.batch}" if self.batch else ""
        return f"{number:,} {state}job{'' if number == 1 else 's'}{of_type}{of_group}{of_batch}"

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Selection":
        """The selection that a row of `spoils_bulks` holds."""
        return cls(
            ids=tuple(UUID(one) for one in value["ids"]),
            trash_of=UUID(value["trash_of"]) if value["trash_of"] else None,
            state=TaskState(value["state"]) if value["state"] else None,
            task_type=value["type"],
            group=value["group"],
            # Those of earlier releases have neither.
            batch=UUID(value["batch"]) if value.get("batch") else None,
            active=bool(value.get("active")),
            until=datetime.fromisoformat(value["until"]) if value["until"] else None,
            since=datetime.fromisoformat(value["since"]) if value.get("since") else None,
        )


def count(connection: Connection, selection: Selection) -> int:
    """How many tasks it means now, exactly; of what an action deleted, as many as it did."""
    if selection.ids:
        return len(selection.ids)
    if selection.trash_of:
        # As many as went there: to count what is left would take a second of a large one, and its list does it.
        return connection.scalar(select(Bulk.done).where(Bulk.id == selection.trash_of)) or 0
    return sum(count_by_type(connection, selection).values())


def count_by_type(connection: Connection, selection: Selection) -> dict[str, int]:
    """How many tasks of each type a filter finds now, exactly: from the counts, unless it is narrower than those."""
    if selection.group or selection.batch or selection.since:
        number = func.count().label("number")
        # Of a task nothing but what the index of failed ones holds: its rows, far apart, are not read.
        grouped = select(Task.task_type, number).where(*_filter(selection)).group_by(Task.task_type)
        return {row.task_type: row.number for row in connection.execute(grouped)}
    states = (selection.state,) if selection.state else tuple(TaskState)
    return {
        name: sum(of[state] for state in states)
        for name, of in count_tasks(connection).items()
        if name == (selection.task_type or name) and name not in left_out(selection)
    }


def listed(selection: Selection, bulk_id: UUID) -> Select[Any, Any, Any, Any]:
    """The rows of `spoils_bulk_items` for it: the last changed first. Of the duplicates of a hash one is the newest."""
    found = found_by(selection).cte("found")
    newest_first = (found.c.moment.desc(), found.c.id)
    among_duplicates = func.row_number().over(partition_by=found.c.uniq_hash, order_by=newest_first)
    return select(
        literal(bulk_id, Uuid),
        func.row_number().over(order_by=newest_first),
        found.c.id,
        or_(found.c.uniq_hash.is_(None), among_duplicates == 1),
    )


LISTED = (BulkItem.bulk_id, BulkItem.place, BulkItem.task_id, BulkItem.newest)


def found_by(selection: Selection) -> Select[Any, Any, Any]:
    """The tasks that it means: their id, hash, and the moment of their last change."""
    if selection.trash_of:
        return select(
            Trash.task_id.label("id"), null().label("uniq_hash"), Trash.deleted_at.label("moment")
        ).where(Trash.bulk_id == selection.trash_of)
    if selection.ids:
        given = func.unnest(cast(list(selection.ids), ARRAY(Uuid))).table_valued("id").render_derived()
        # What is gone by now is listed too, and will be refused.
        return select(
            given.c.id, Task.uniq_hash, func.coalesce(Task.updated_at, func.now()).label("moment")
        ).outerjoin_from(given, Task, Task.id == cast(given.c.id, Uuid))
    return select(Task.id, Task.uniq_hash, Task.updated_at.label("moment")).where(*_filter(selection))


def _filter(selection: Selection) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Task.task_type.not_in(sorted(left_out(selection)))]
    if selection.state:
        conditions.append(Task.state == selection.state)
    if selection.active:
        conditions.append(Task.state.in_(ACTIVE))
    if selection.batch:
        conditions.append(Task.batch_id == selection.batch)
    if selection.task_type is not None:
        conditions.append(Task.task_type == selection.task_type)
    if selection.until:
        conditions.append(Task.updated_at <= cast(selection.until, DateTime(timezone=True)))
    if selection.since:
        conditions.append(Task.updated_at >= cast(selection.since, DateTime(timezone=True)))
    if selection.group:
        conditions.append(failures.in_group(Task, selection.group))
    return conditions
