"""A verb on one chunk of a list: one statement that acts on what it may, and enters each task in the audit trail."""

from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Select,
    String,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    null,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import aliased

from spoils.models import ACTIVE, WAITING, Audit, BulkItem, Task, TaskState, Trash
from spoils.queue.audit_facts import facts
from spoils.queue.control import CANCELLED_OR_ASKED, DUE_NOW, RETRIED, RULES
from spoils.queue.trash import whole_row

OLDER_TWIN = "the same unique job failed again later, and that one is retried."
GONE = "the job is gone."

_bulk = bindparam("bulk", type_=Uuid)
_item = (
    select(BulkItem.task_id, BulkItem.newest)
    .where(
        BulkItem.bulk_id == _bulk,
        BulkItem.place > bindparam("after_place", type_=BigInteger),
        BulkItem.place <= bindparam("to_place", type_=BigInteger),
    )
    .cte("item")
)
_chosen = (
    select(
        Task.id,
        Task.state,
        Task.attempts,
        Task.uniq_hash,
        facts().label("before"),
        _item.c.newest,
    )
    .join(_item, Task.id == _item.c.task_id)
    # In one order, so that two chunks that share tasks do not wait for each other.
    .order_by(Task.id)
    .with_for_update(of=Task)
    .cte("chosen")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_other = aliased(Task, name="other")
_twin = (
    select(_other.id, _other.state)
    .where(
        _other.uniq_hash == _chosen.c.uniq_hash,
        _other.state.in_(ACTIVE),
        _chosen.c.state == TaskState.FAILED,
    )
    .limit(1)
    .lateral("twin")
)


def _wrong_state(verb: str, *allowed: TaskState) -> ColumnElement[Any]:
    word = cast(_chosen.c.state, Text)
    return case(
        (_chosen.c.state.in_(allowed), null()),
        (
            _chosen.c.state == TaskState.IN_PROGRESS,
            func.concat("attempt ", _chosen.c.attempts, " is in progress."),
        ),
        else_=func.concat("the job is ", word, f". {RULES[verb]}."),
    )


def _judged(reason: ColumnElement[Any], twin: bool = False) -> CTE:
    columns = [_chosen.c.id, _chosen.c.before, cast(reason, Text).label("reason")]
    if not twin:
        return select(*columns, cast(null(), Uuid).label("twin")).cte("judged")
    return (
        select(*columns, _twin.c.id.label("twin")).select_from(_chosen.outerjoin(_twin, true())).cte("judged")
    )


def _whole(verb: str, judged: CTE, changed: CTE, *more: CTE) -> Select[Any, Any]:
    audited = (
        insert(Audit)
        .from_select(
            ["who", "verb", "task_id", "bulk_id", "done", "note", "twin", "before", "after"],
            select(
                bindparam("by_whom", type_=String),
                cast(verb, String),
                _item.c.task_id,
                _bulk,
                changed.c.id.is_not(None),
                case((judged.c.id.is_(None), GONE), else_=judged.c.reason),
                judged.c.twin,
                judged.c.before,
                changed.c.after,
            ).select_from(
                _item.outerjoin(judged, judged.c.id == _item.c.task_id).outerjoin(
                    changed, changed.c.id == judged.c.id
                )
            ),
        )
        .returning(Audit.done)
        .cte("audited")
    )
    return select(
        func.count().filter(audited.c.done).label("done"),
        func.count().filter(~audited.c.done).label("refused"),
    ).add_cte(*more)


def _updating(verb: str, judged: CTE, values: Any) -> Select[Any, Any]:
    changed = (
        update(Task)
        .where(Task.id == judged.c.id, judged.c.reason.is_(None))
        .values(values)
        .returning(Task.id, facts().label("after"))
        .cte("changed")
    )
    return _whole(verb, judged, changed)


def _deleting() -> Select[Any, Any]:
    ended_or_waiting = [state for state in TaskState if state is not TaskState.IN_PROGRESS]
    judged = _judged(_wrong_state("delete", *ended_or_waiting))
    changed = (
        delete(Task)
        .where(Task.id == judged.c.id, judged.c.reason.is_(None))
        .returning(Task.id, whole_row(), cast(null(), JSONB).label("after"))
        .cte("changed")
    )
    trashed = (
        insert(Trash)
        .from_select(["task_id", "task", "bulk_id"], select(changed.c.id, changed.c.task, _bulk))
        .cte("trashed")
    )
    return _whole("delete", judged, changed, trashed)


_RETRY_REASON = case(
    (_chosen.c.state != TaskState.FAILED, _wrong_state("retry", TaskState.FAILED)),
    (~_chosen.c.newest, OLDER_TWIN),
    (_twin.c.state == TaskState.IN_PROGRESS, "the same unique job is in progress."),
    (_twin.c.id.is_not(None), "the same unique job already waits."),
    else_=null(),
)
STATEMENTS = {
    "retry": _updating("retry", _judged(_RETRY_REASON, twin=True), RETRIED),
    "run_now": _updating("run_now", _judged(_wrong_state("run_now", *WAITING)), DUE_NOW),
    "cancel": _updating("cancel", _judged(_wrong_state("cancel", *ACTIVE)), CANCELLED_OR_ASKED),
    "delete": _deleting(),
}
"""Take `bulk`, `after_place`, `to_place` and `by_whom`; answer one row: how many were `done`, how many `refused`."""
