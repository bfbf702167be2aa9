"""Changing the payload of tasks that wait or have failed: of one by its form, or one field of many. Undone for a day.

A failed task is retried with its new payload. The old row is copied to the trash, and `revert` restores it from there.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Connection,
    Integer,
    Row,
    String,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError

from spoils.errors import PayloadError
from spoils.job import wire
from spoils.job.registry import registry
from spoils.masking import masked
from spoils.models import WAITING, Audit, Task, TaskState, Trash, UniqueWindow
from spoils.queue.actions import GONE, RETRIED, RUNNING, WAITS, Change
from spoils.queue.audit_facts import facts
from spoils.queue.claim_scope import holds_hash
from spoils.queue.enqueue import row
from spoils.queue.release import STATES, wake
from spoils.queue.trash import EDITED, is_edit, whole_row

ONLY = "Only a waiting or failed job can be edited"
UNCHANGED = "the change does not alter its payload."
NOT_EDITED = "it was not edited within the last day, or that is undone."
Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mend:
    """A change of one field to a constant; with `where`, only of payloads in which the field has that value."""

    field: str
    value: Any
    where: tuple[Any, ...] = ()
    """The value that the field has now; empty for any."""

    def __call__(self, payload: Payload) -> Payload:
        """The changed payload, or the same where the condition does not hold."""
        if self.where and (self.field not in payload or not _equal(payload[self.field], self.where[0])):
            return payload
        return {**payload, self.field: self.value}

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"field": self.field, "value": self.value, "where": list(self.where)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Mend":
        """The change that a row of `spoils_bulks` holds."""
        return cls(value["field"], value["value"], tuple(value["where"]))


def edited(payload: Any, change: Callable[[Payload], Payload]) -> dict[str, Any]:
    """What is written of the job with the changed payload. Raises PayloadError with a sentence where its class refuses
    it, or where nothing changes.
    """
    job_class = registry.get(str(payload.get("type"))) if isinstance(payload, dict) else None
    if job_class is None:
        raise PayloadError("this program has no class of its name.")
    new = change(payload)
    if _equal(new, payload):
        raise PayloadError(UNCHANGED)
    if unknown := new.keys() - payload.keys() - job_class.model_fields.keys():
        raise PayloadError(f'{job_class.__name__} has no field "{min(unknown)[:100]}".')
    job = job_class.from_wire(wire.canonical(new))
    return row(job, at=None, priority=0, key="")


def edit(
    connection: Connection,
    change: Callable[[Payload], Payload],
    task_ids: Sequence[UUID],
    *,
    who: str,
    action: str = "edit",
    bulk_id: UUID | None = None,
) -> list[Change]:
    """Change the payloads of tasks that wait or have failed, and retry those that have failed; part of the transaction.

    `change` gets a payload and returns the new one. Of tasks that become equal unique jobs the first one is changed.
    """
    found = _locked(connection, task_ids)
    values: dict[UUID, dict[str, Any]] = {}
    refused: dict[UUID, str] = {}
    for task_id in task_ids:
        reason = _wrong_state(found.get(task_id))
        try:
            if reason is None:
                values[task_id] = edited(found[task_id].payload, change)
        except PayloadError as exc:
            reason = str(exc)
        if reason is not None:
            refused[task_id] = reason
    source = select(Task.id, whole_row().op("||")(EDITED), literal(bulk_id, Uuid)).where(Task.id.in_(values))
    connection.execute(insert(Trash).from_select(["task_id", "task", "bulk_id"], source))
    digests = {task_id: new["uniq_hash"] for task_id, new in values.items()}
    blocked = _unless_duplicates(connection, digests, lambda ids: _write(connection, found, values, ids))
    newest = select(func.max(Trash.id)).where(Trash.task_id.in_(blocked), is_edit()).group_by(Trash.task_id)
    connection.execute(delete(Trash).where(Trash.id.in_(newest)))
    refused |= {task_id: reason for task_id, (_, reason) in blocked.items()}
    duplicates = {task_id: duplicate for task_id, (duplicate, _) in blocked.items()}
    _enter(
        connection, action, task_ids, found, refused=refused, duplicates=duplicates, who=who, bulk_id=bulk_id
    )
    if len(refused) < len(task_ids):
        wake(connection)
    return [_change(action, refused.get(each), duplicates.get(each)) for each in task_ids]


def revert(
    connection: Connection,
    task_ids: Sequence[UUID],
    *,
    who: str,
    bulk_id: UUID | None = None,
    edited_by: UUID | None = None,
) -> list[Change]:
    """Undo the last edit of tasks that have not run since: the old payload is back, and what had failed is failed.

    `edited_by` is the bulk action whose edits are undone. Part of the transaction.
    """
    found = _locked(connection, task_ids)
    edits = select(func.max(Trash.id)).where(Trash.task_id.in_(task_ids), is_edit()).group_by(Trash.task_id)
    if edited_by is not None:
        edits = edits.where(Trash.bulk_id == edited_by)
    old = select(
        Trash.id,
        Trash.task_id,
        Trash.task["state"].astext.label("state"),
        Trash.task["uniq_hash"].astext.label("uniq_hash"),
    ).where(Trash.id.in_(edits))
    trash = {one.task_id: one for one in connection.execute(old)}
    refused: dict[UUID, str] = {}
    digests: dict[UUID, str | None] = {}
    for task_id in task_ids:
        reason = _wrong_state(found.get(task_id)) or (None if task_id in trash else NOT_EDITED)
        if reason is not None:
            refused[task_id] = reason
        else:
            before = trash[task_id]
            digests[task_id] = None if before.state == TaskState.FAILED.value else before.uniq_hash
    blocked = _unless_duplicates(
        connection, digests, lambda ids: _put_back(connection, [trash[each].id for each in ids])
    )
    refused |= {task_id: reason for task_id, (_, reason) in blocked.items()}
    duplicates = {task_id: duplicate for task_id, (duplicate, _) in blocked.items()}
    _enter(
        connection,
        "revert",
        task_ids,
        found,
        refused=refused,
        duplicates=duplicates,
        who=who,
        bulk_id=bulk_id,
    )
    if len(refused) < len(task_ids):
        wake(connection)
    return [_change("revert", refused.get(each), duplicates.get(each)) for each in task_ids]


_SEEN = (
    Task.id,
    Task.state,
    Task.attempts,
    Task.payload.label("payload"),
    Task.uniq_hash,
    facts().label("facts"),
)
_DONE = {
    "edit": "The job has its new payload.",
    "mend": "Mended 1 job.",
    "revert": "The job has its old payload again.",
}


def _locked(connection: Connection, task_ids: Sequence[UUID]) -> dict[UUID, Row[Any]]:
    # In one order, so that two bulks that share tasks do not wait for each other.
    statement = select(*_SEEN).where(Task.id.in_(task_ids)).order_by(Task.id).with_for_update()
    return {one.id: one for one in connection.execute(statement)}


def _wrong_state(task: Row[Any] | None) -> str | None:
    if task is None:
        return GONE
    if task.state is TaskState.IN_PROGRESS:
        return f"attempt {task.attempts} is in progress."
    if task.state is TaskState.FINISHED:
        return f"the job is finished. {ONLY}."
    return None


_given = (
    func.jsonb_to_recordset(cast(bindparam("edits", type_=Text), JSONB))
    .table_valued(
        column("id", Uuid),
        column("metadata", JSONB),
        column("uniq_hash", String),
        column("uniq_waiting", Boolean),
        name="given",
    )
    .render_derived(with_types=True)
)
_GIVEN = {
    "payload": _given.c.metadata,
    "uniq_hash": _given.c.uniq_hash,
    "uniq_waiting": _given.c.uniq_waiting,
    "updated_at": func.now(),
}
# The waiting ones first: the others wait once they are written.
_WRITE = tuple(
    update(Task).where(Task.id == _given.c.id, Task.state.in_(states)).values({**_GIVEN, **more})
    for states, more in ((WAITING, {}), ([TaskState.FAILED], RETRIED))
)
_was_failed = Trash.task["state"].astext == TaskState.FAILED.value
_PUT_BACK = update(Task).values(
    payload=Trash.task["metadata"],
    uniq_hash=Trash.task["uniq_hash"].astext,
    uniq_waiting=cast(Trash.task["uniq_waiting"].astext, Boolean),
    retries=case((Task.state.in_(WAITING), cast(Trash.task["retries"].astext, Integer)), else_=Task.retries),
    state=case((_was_failed, cast(TaskState.FAILED.value, STATES)), else_=Task.state),
    updated_at=func.now(),
)


def _write(
    connection: Connection,
    found: Mapping[UUID, Row[Any]],
    values: Mapping[UUID, dict[str, Any]],
    task_ids: Sequence[UUID],
) -> None:
    given = [
        {
            "id": str(each),
            "metadata": json.loads(values[each]["metadata"]),
            "uniq_hash": values[each]["uniq_hash"],
            "uniq_waiting": values[each]["uniq_waiting"],
        }
        for each in task_ids
    ]
    for statement in _WRITE:
        connection.execute(statement, {"edits": json.dumps(given)})
    # A window of the old payload would answer its next enqueue with a task of another payload.
    changed = [each for each in task_ids if found[each].uniq_hash not in (None, values[each]["uniq_hash"])]
    if changed:
        old = UniqueWindow.uniq_hash.in_([found[each].uniq_hash for each in changed])
        connection.execute(delete(UniqueWindow).where(old, UniqueWindow.task_id.in_(changed)))


def _put_back(connection: Connection, trash_ids: Sequence[int]) -> None:
    of = (Trash.id.in_(trash_ids), Task.id == Trash.task_id)
    connection.execute(_PUT_BACK.where(*of))
    connection.execute(delete(Trash).where(Trash.id.in_(trash_ids)))


def _unless_duplicates(
    connection: Connection,
    digests: Mapping[UUID, str | None],
    write: Callable[[Sequence[UUID]], None],
) -> dict[UUID, tuple[UUID | None, str]]:
    """Write the tasks whose hash no other task holds. Of the others the duplicate, if it is known, and a sentence."""
    wanted = [digest for digest in digests.values() if digest]
    statement = select(Task.id, Task.state, Task.uniq_hash).where(Task.uniq_hash.in_(wanted), holds_hash())
    holders = {one.uniq_hash: (one.id, one.state) for one in connection.execute(statement)}
    blocked: dict[UUID, tuple[UUID | None, str]] = {}
    for task_id, digest in digests.items():
        if digest is None:
            continue
        holder, state = holders.setdefault(digest, (task_id, TaskState.NEW))
        if holder != task_id:
            blocked[task_id] = holder, RUNNING if state is TaskState.IN_PROGRESS else WAITS
    free = [task_id for task_id in digests if task_id not in blocked]
    try:
        with connection.begin_nested():
            write(free)
    except IntegrityError:
        # A duplicate went in meanwhile. Only the task that meets it is refused.
        for task_id in free:
            try:
                with connection.begin_nested():
                    write([task_id])
            except IntegrityError:
                blocked[task_id] = None, WAITS
    return blocked


def _enter(
    connection: Connection,
    action: str,
    task_ids: Sequence[UUID],
    before: Mapping[UUID, Row[Any]],
    *,
    refused: Mapping[UUID, str],
    duplicates: Mapping[UUID, UUID | None],
    who: str,
    bulk_id: UUID | None,
) -> None:
    """Enter each task in the audit log, with the fields that changed, masked."""
    seen = select(*_SEEN).where(Task.id.in_(before))
    after = {one.id: one for one in connection.execute(seen)}
    entries = []
    for task_id in task_ids:
        old, new = before.get(task_id), after.get(task_id)
        fields = _changed(old.payload, new.payload) if old and new and task_id not in refused else ()
        entries.append(
            {
                "who": who,
                "verb": action,
                "task_id": task_id,
                "bulk_id": bulk_id,
                "done": task_id not in refused,
                "note": refused.get(task_id),
                "twin": duplicates.get(task_id),
                "before": _facts(old, fields),
                "after": _facts(new, fields),
            }
        )
    connection.execute(insert(Audit), entries)


def _equal(one: Any, other: Any) -> bool:
    """As JSON has it: for Python 1 is True."""
    return wire.canonical(one) == wire.canonical(other)


def _changed(old: Any, new: Any) -> tuple[str, ...]:
    old, new = (one if isinstance(one, dict) else {} for one in (old, new))
    missing = object()
    return tuple(name for name in {**old, **new} if old.get(name, missing) != new.get(name, missing))


def _facts(task: Row[Any] | None, fields: Sequence[str]) -> dict[str, Any] | None:
    if task is None:
        return None
    if not fields:
        return dict(task.facts)
    shown = masked(task.payload)
    return {**task.facts, "payload": {name: shown[name] for name in fields if name in shown}}


def _change(action: str, reason: str | None, duplicate: UUID | None) -> Change:
    return Change(False, f"Refused: {reason}", duplicate) if reason else Change(True, _DONE[action])
