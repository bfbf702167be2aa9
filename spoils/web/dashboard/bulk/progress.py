"""The progress page of an action on many jobs, and the message about its result."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from spoils.masking import masked_text
from spoils.models import Audit, Bulk, Task, TaskState
from spoils.queue.selection import OWN_TYPE
from spoils.reports import bulk_actions
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.bulk_actions import ACTIONS, BulkAction
from spoils.web.dashboard.shared.job_row import short_id
from spoils.web.dashboard.shared.status_bar import StatusBar

REFUSALS = 100


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job that was left as it was, and why."""

    task_id: str
    short_id: str
    reason: str
    duplicate: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the action has come."""

    id: str
    title: str
    ended: bool
    state: str
    figures: tuple[tuple[str, str], ...]
    percent: float
    who: str
    begun: formats.Moment
    took: str
    refusals: tuple[Refusal, ...]
    more_refusals: int | None
    restorable: bool
    task: str | None
    filtered: str


def show_progress(session: Session, row: Bulk, task: Task | None, bar: StatusBar, after: int) -> Progress:
    """The page of the action `row`, which the job `task` carries out if it is large; refusals from entry `after` on."""
    action = ACTIONS[row.verb]
    refused = bulk_actions.refusals(session, row.id, after=after, limit=REFUSALS + 1)
    total = row.expected if row.total is None else row.total
    processed = row.done + row.refused
    took_ms = (row.ended_at - row.created_at).total_seconds() * 1_000 if row.ended_at else None
    return Progress(
        id=str(row.id),
        title=result(row).rstrip(".") if row.ended_at else f"{action.doing} {formats.plural(total, 'job')}",
        ended=row.ended_at is not None,
        state=_state(row, task, bar),
        figures=(
            (_past(action), formats.number(row.done)),
            ("refused", formats.number(row.refused)),
            ("left", formats.number(max(0, total - processed))),
        ),
        percent=100 * processed / total if total else 100,
        who=formats.one_line(row.who),
        begun=formats.moment(row.created_at, bar.now),
        took="" if took_ms is None else formats.run_time(took_ms),
        refusals=tuple(_refusal(each) for each in refused[:REFUSALS]),
        more_refusals=refused[REFUSALS - 1].id if len(refused) > REFUSALS else None,
        restorable=row.verb in ("delete", "mend")
        and row.ended_at is not None
        and bulk_actions.restorable(session.connection(), row.id),
        task=str(row.task_id) if row.task_id and task else None,
        filtered=row.selection.get("state") or "",
    )


def result(row: Bulk) -> str:
    """What the action did, in one sentence."""
    action = ACTIONS[row.verb]
    if row.total == 0:
        return "There was nothing to do."
    done = f"{action.done} {formats.plural(row.done, 'job')}" if row.done else f"Nothing was {_past(action)}"
    refused = f", {formats.number(row.refused)} refused" if row.refused else ""
    return f"{done}{refused}."


def _past(action: BulkAction) -> str:
    return action.done.rstrip(":").lower()


def _state(row: Bulk, task: Task | None, bar: StatusBar) -> str:
    if row.ended_at is not None:
        return ""
    if task is None:
        return "It has stopped: the job that runs it was deleted. Completed changes remain."
    if task.state is TaskState.FAILED:
        return "It has stopped: the job that runs it failed. Retry that job to continue."
    if task.state is not TaskState.IN_PROGRESS and OWN_TYPE not in bar.taken:
        return f"It is waiting: no running worker performs {OWN_TYPE}."
    if row.total is None:
        return "It starts in a moment."
    return "It runs in the background; you can leave this page."


def _refusal(entry: Audit) -> Refusal:
    return Refusal(
        task_id=str(entry.task_id),
        short_id=short_id(entry.task_id),
        reason=formats.one_line(masked_text(entry.note or "")),
        duplicate=str(entry.twin) if entry.twin else None,
    )
