"""The operator's actions: retry, run now, cancel, delete, restore. An action on one task is a bulk of one.

Each is one statement: it locks the tasks, judges each by the one table of reasons below, changes those that have none,
and enters all of them in the audit log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from spoils.db import arrays
from spoils.models import ACTIVE, WAITING, Audit, Task, TaskState, Trash
from spoils.queue.audit_facts import facts
from spoils.queue.claim_scope import holds_hash
from spoils.queue.release import CANCELLED, STATES, wake
from spoils.queue.trash import is_edit, whole_row

GONE = "the job is gone."
RUNNING = "the same unique job is in progress."
WAITS = "the same unique job already waits."
OLDER_DUPLICATE = "the same unique job failed again later, and that one is retried."
NOT_IN_TRASH = "the job is not in the trash, where a deleted one stays for a day."
THERE_AGAIN = "a job of this id is there."
RULES = {
    "retry": "Only a failed job can be retried",
    "run_now": "Only a waiting job can be run now",
    "cancel": "Only a waiting or running job can be cancelled",
    "delete": "A job in progress can't be deleted",
}
DONE = {
    "retry": "Retried 1 job.",
    "run_now": "1 job is due now.",
    "cancel": "Cancelled 1 job.",
    "delete": "Deleted 1 job.",
    "restore": "Restored 1 job.",
}
ASKED_TO_STOP = "1 running job was asked to stop."
MAKES_DUE = {"retry", "run_now", "restore"}
"""The actions after which there may be something to claim."""
TRIES = 3
"""How often an action on one task is tried where a duplicate goes in while its statement runs."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an action did to one task: `done`, or refused with a sentence; `duplicate` is the task that prevents it."""

    done: bool
    sentence: str
    duplicate: UUID | None = None


def act(connection: Connection, action: str, task_id: UUID, *, who: str) -> Change:
    """Do the action of that name on one task as `who`; part of the transaction.

    `action` is "retry", "run_now", "cancel", "delete" or "restore".

        change = act(connection, "retry", task_id, who="admin")
    """
    (change,) = act_on_many(connection, action, [(task_id, True)], who=who)
    return change


def act_on_many(
    connection: Connection,
    action: str,
    tasks: Sequence[tuple[UUID, bool]],
    *,
    who: str,
    bulk_id: UUID | None = None,
    deleted_by: UUID | None = None,
) -> list[Change]:
    """Do the action on tasks, in any order; part of the transaction. The changes are in the order of the tasks.

    Of failed duplicates among the tasks, the one flagged with True is retried. `bulk_id` is entered in the audit log.
    `deleted_by` is the bulk whose deletes "restore" takes back; by default the last delete of each task.
    """
    values = {
        "task_ids": arrays.plain(task_id for task_id, _ in tasks),
        "are_newest": arrays.plain(str(newest).lower() for _, newest in tasks),
        "by_whom": who,
        "in_bulk": bulk_id,
        "deleted_by": deleted_by,
    }
    try:
        rows = _execute(connection, action, values, tries=TRIES if len(tasks) == 1 else 1)
    except IntegrityError:
        # A duplicate went in while the statement ran. Only the task that meets it is refused.
        if len(tasks) == 1:
            raise
        options: dict[str, Any] = {"who": who, "bulk_id": bulk_id, "deleted_by": deleted_by}
        # In the order in which the statement locks, or two bulks that share tasks would wait for each other.
        alone = {one[0]: act_on_many(connection, action, [one], **options)[0] for one in sorted(tasks)}
        return [alone[task_id] for task_id, _ in tasks]
    changes = {row.task_id: _change(action, row) for row in rows}
    if action in MAKES_DUE and any(change.done for change in changes.values()):
        wake(connection)
    return [changes[task_id] for task_id, _ in tasks]


def _execute(
    connection: Connection, action: str, values: dict[str, Any], *, tries: int
) -> Sequence[Row[Any]]:
    try:
        with connection.begin_nested():
            return connection.execute(_STATEMENTS[action], values).all()
    except IntegrityError:
        if tries == 1:
            raise
    return _execute(connection, action, values, tries=tries - 1)


def in_trash(connection: Connection, task_id: UUID) -> bool:
    """Whether the delete of a task can be undone."""
    return (
        connection.scalar(select(Trash.id).where(Trash.task_id == task_id, ~is_edit()).limit(1)) is not None
    )


def _change(action: str, row: Row[Any]) -> Change:
    if not row.done:
        return Change(False, f"Refused: {row.note}", row.twin)
    return Change(True, ASKED_TO_STOP if (row.after or {}).get("asked_to_stop") else DONE[action])


_item = (
    select(
        func.unnest(arrays.parameter("task_ids", Uuid), arrays.parameter("are_newest", Boolean))
        .table_valued(column("task_id", Uuid), column("newest", Boolean))
        .render_derived(name="item")
    )
    .cte("item")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_chosen = (
    select(Task.id, Task.state, Task.attempts, Task.uniq_hash, facts().label("before"), _item.c.newest)
    .join(_item, Task.id == _item.c.task_id)
    # In one order, so that two bulks that share tasks do not wait for each other.
    .order_by(Task.id)
    .with_for_update(of=Task)
    .cte("chosen")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_other = aliased(Task, name="other")
_duplicate = (
    select(_other.id, _other.state)
    .where(_other.uniq_hash == _chosen.c.uniq_hash, holds_hash(_other), _chosen.c.state == TaskState.FAILED)
    .limit(1)
    .lateral("duplicate")
)
_waits = Task.state.in_(WAITING)


def _wrong_state(action: str, *allowed: TaskState) -> ColumnElement[Any]:
    """Why a task of this state is refused; NULL where it is not."""
    return case(
        (_chosen.c.state.in_(allowed), null()),
        (
            _chosen.c.state == TaskState.IN_PROGRESS,
            func.concat("attempt ", _chosen.c.attempts, " is in progress."),
        ),
        else_=func.concat("the job is ", cast(_chosen.c.state, Text), f". {RULES[action]}."),
    )


def _judged(reason: ColumnElement[Any], *, with_duplicate: bool = False) -> CTE:
    columns = [_chosen.c.id.label("task_id"), _chosen.c.before, cast(reason, Text).label("reason")]
    if not with_duplicate:
        return select(*columns, cast(null(), Uuid).label("twin")).cte("judged")
    joined = _chosen.outerjoin(_duplicate, true())
    return select(*columns, _duplicate.c.id.label("twin")).select_from(joined).cte("judged")


def _updating(action: str, judged: CTE, values: Any) -> Select[Any]:
    changed = (
        update(Task)
        .where(Task.id == judged.c.task_id, judged.c.reason.is_(None))
        .values(values)
        .returning(Task.id, facts().label("after"))
        .cte("changed")
    )
    return _audited(action, judged, changed)


def _deleting() -> Select[Any]:
    """To the trash. The attempts stay until they are pruned."""
    ended_or_waiting = [state for state in TaskState if state is not TaskState.IN_PROGRESS]
    judged = _judged(_wrong_state("delete", *ended_or_waiting))
    changed = (
        delete(Task)
        .where(Task.id == judged.c.task_id, judged.c.reason.is_(None))
        .returning(Task.id, whole_row(), cast(null(), JSONB).label("after"))
        .cte("changed")
    )
    trashed = (
        insert(Trash)
        .from_select(
            ["task_id", "task", "bulk_id"],
            select(changed.c.id, changed.c.task, bindparam("in_bulk", type_=Uuid)),
        )
        .cte("trashed")
    )
    return _audited("delete", judged, changed, trashed)


# Whole rows, and so no list of columns: a table may have some that no model knows. A row that waits comes back due
# now at the earliest, since claims look on from where they were.
_BACK = text(
    """
    INSERT INTO fang_tasks
    SELECT row.*
    FROM judged, jsonb_populate_record(
        NULL::fang_tasks,
        judged.task || CASE
            WHEN judged.task ->> 'state' IN ('new', 'retried')
            THEN jsonb_build_object(
                'scheduled_at', greatest((judged.task ->> 'scheduled_at')::timestamptz, now())
            )
            ELSE '{}'::jsonb
        END
    ) AS row
    WHERE judged.reason IS NULL
    RETURNING id, state, scheduled_at, retries, cancel_requested_at
    """
).columns(Task.id, Task.state, Task.scheduled_at, Task.retries, Task.cancel_requested_at)


def _restoring() -> Select[Any]:
    """The task as it was when it was deleted, unless its place is taken."""
    source = bindparam("deleted_by", type_=Uuid)
    newer = aliased(Trash, name="newer")
    chosen = (
        select(Trash.id, Trash.task_id, Trash.task)
        .join(_item, Trash.task_id == _item.c.task_id)
        .where(
            ~is_edit(),
            or_(source.is_(None), Trash.bulk_id == source),
            or_(
                source.is_not(None),
                ~exists(
                    select(newer.id).where(
                        newer.task_id == Trash.task_id, newer.id > Trash.id, ~is_edit(newer)
                    )
                ),
            ),
        )
        .with_for_update(of=Trash)
        .cte("chosen")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    there = aliased(Task, name="there")
    duplicate = (
        select(_other.id, _other.state)
        .where(
            _other.uniq_hash == chosen.c.task["uniq_hash"].astext,
            holds_hash(_other),
            chosen.c.task["state"].astext.in_([state.value for state in WAITING]),
        )
        .limit(1)
        .lateral("duplicate")
    )
    judged = (
        select(
            chosen.c.id,
            chosen.c.task_id,
            chosen.c.task,
            cast(null(), JSONB).label("before"),
            case(
                (there.id.is_not(None), THERE_AGAIN),
                (duplicate.c.state == TaskState.IN_PROGRESS, RUNNING),
                (duplicate.c.id.is_not(None), WAITS),
                else_=null(),
            ).label("reason"),
            func.coalesce(there.id, duplicate.c.id).label("twin"),
        )
        .select_from(chosen.outerjoin(there, there.id == chosen.c.task_id).outerjoin(duplicate, true()))
        .cte("judged")
    )
    back = _BACK.cte("back")
    changed = select(back.c.id, facts(back.c).label("after")).cte("changed")
    emptied = delete(Trash).where(Trash.id == judged.c.id, judged.c.task_id == back.c.id).cte("emptied")
    return _audited("restore", judged, changed, emptied, missing=NOT_IN_TRASH)


def _audited(action: str, judged: CTE, changed: CTE, *more: CTE, missing: str = GONE) -> Select[Any]:
    """Enter each task in the audit log, and answer a row of it: task_id, done, note, twin, after."""
    done = changed.c.id.is_not(None)
    entered = (
        insert(Audit)
        .from_select(
            ["who", "verb", "task_id", "bulk_id", "done", "note", "twin", "before", "after"],
            select(
                bindparam("by_whom", type_=String),
                literal(action, String),
                _item.c.task_id,
                bindparam("in_bulk", type_=Uuid),
                done,
                case((judged.c.task_id.is_(None), missing), else_=judged.c.reason),
                judged.c.twin,
                judged.c.before,
                case((done, changed.c.after), else_=judged.c.before),
            ).select_from(
                _item.outerjoin(judged, judged.c.task_id == _item.c.task_id).outerjoin(
                    changed, changed.c.id == judged.c.task_id
                )
            ),
        )
        .returning(Audit.task_id, Audit.done, Audit.note, Audit.twin, Audit.after)
        .cte("entered")
    )
    return select(entered).add_cte(judged, *more)


_RETRY_REASON = case(
    (_chosen.c.state != TaskState.FAILED, _wrong_state("retry", TaskState.FAILED)),
    (~_chosen.c.newest, OLDER_DUPLICATE),
    # The index refuses most duplicates, but beside Rust workers not a running one.
    (_duplicate.c.state == TaskState.IN_PROGRESS, RUNNING),
    (_duplicate.c.id.is_not(None), WAITS),
    else_=null(),
)
RETRIED = {
    "state": TaskState.NEW,
    "retries": 0,
    "crashes": 0,
    "scheduled_at": func.now(),
    "claimed_by": null(),
    "claimed_at": null(),
    "cancel_requested_at": null(),
    "updated_at": func.now(),
}
_DUE_NOW = {"scheduled_at": func.least(Task.scheduled_at, func.now()), "updated_at": func.now()}
_CANCELLED_OR_ASKED = {
    "state": case((_waits, cast(TaskState.FAILED.value, STATES)), else_=Task.state),
    "error_message": case((_waits, CANCELLED), else_=Task.error_message),
    "cancel_requested_at": case((_waits, null()), else_=func.now()),
    "updated_at": func.now(),
}
_STATEMENTS = {
    "retry": _updating("retry", _judged(_RETRY_REASON, with_duplicate=True), RETRIED),
    "run_now": _updating("run_now", _judged(_wrong_state("run_now", *WAITING)), _DUE_NOW),
    "cancel": _updating("cancel", _judged(_wrong_state("cancel", *ACTIVE)), _CANCELLED_OR_ASKED),
    "delete": _deleting(),
    "restore": _restoring(),
}
ACTIONS = tuple(_STATEMENTS)
