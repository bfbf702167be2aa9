"""Why a job waits: what holds it, and what was ruled out."""

from dataclasses import dataclass

from sqlalchemy import func, or_, select, tuple_
from sqlalchemy.orm import Session

from spoils.models import WAITING, Attempt, Task, TaskState
from spoils.web.dashboard import formats
from spoils.web.dashboard.strip import Strip

COUNTED_AHEAD = 1_000


@dataclass(frozen=True, slots=True)
class Reason:
    """One line: `holds` it, or was looked at and does not."""

    holds: bool
    strong: str
    rest: str = ""
    moment: formats.Moment | None = None
    """Stands behind the strong words."""


def why_it_waits(session: Session, task: Task, last: Attempt | None, strip: Strip) -> tuple[Reason, ...]:
    """The reasons, those that hold first; none for a job that does not wait."""
    if task.state not in WAITING:
        return ()
    reasons = [_due(task, last, strip), *_pause(task, strip), _worker(task, strip)]
    if not any(reason.holds for reason in reasons):
        reasons.append(_turn(session, task))
    return tuple(sorted(reasons, key=lambda reason: not reason.holds))


def _due(task: Task, last: Attempt | None, strip: Strip) -> Reason:
    due = formats.moment(task.scheduled_at, strip.now)
    if due is None or not due.future:
        return Reason(False, "", f"It has been due for {due.span if due else '–'}.")
    why = ""
    if task.state is TaskState.RETRIED and last is not None and last.delay_ms is not None:
        why = f" Attempt {last.attempt} {_ended(last)}, so it waits {formats.span(last.delay_ms / 1_000)}."
    if due.span == "never":
        return Reason(True, "Never due.", why.strip())
    return Reason(True, "Not due until", f"in {due.span}.{why}", due)


def _ended(last: Attempt) -> str:
    return {"snoozed": "asked for a pause", "timed_out": "ran out of time"}.get(last.outcome, "failed")


def _pause(task: Task, strip: Strip) -> list[Reason]:
    if (pause := strip.paused.get(task.task_type)) is None:
        return []
    since = formats.moment(pause.paused_at, strip.now)
    return [
        Reason(
            True,
            f"The type {task.task_type} is paused.",
            f"{pause.paused_by} paused it {since.age if since else ''}; it goes on when somebody resumes it.",
        )
    ]


def _worker(task: Task, strip: Strip) -> Reason:
    if not strip.workers:
        return Reason(True, "No worker is live.", "Work begins when one starts.")
    if task.task_type not in strip.taken:
        return Reason(
            True,
            f"No live worker takes {task.task_type}.",
            "Start one that does, or leave WORKER_TASK_TYPES out.",
        )
    return Reason(False, "", f"A live worker takes {task.task_type}.")


def _turn(session: Session, task: Task) -> Reason:
    ahead = _ahead(session, task)
    if not ahead:
        return Reason(True, "It is next of its type.", "It starts as soon as a thread is free.")
    number = f"{COUNTED_AHEAD:,}+" if ahead > COUNTED_AHEAD else formats.number(ahead)
    return Reason(
        True,
        f"{number} of its type {'is' if ahead == 1 else 'are'} ahead.",
        "They started to wait before it.",
    )


def _ahead(session: Session, task: Task) -> int:
    before = (
        select(Task.id)
        .where(
            Task.task_type == task.task_type,
            Task.state.in_(WAITING),
            or_(
                Task.priority > task.priority,
                (Task.priority == task.priority)
                & (tuple_(Task.scheduled_at, Task.id) < tuple_(task.scheduled_at, task.id)),
            ),
            Task.scheduled_at <= func.now(),
        )
        .limit(COUNTED_AHEAD + 1)
        .subquery()
    )
    return session.scalar(select(func.count()).select_from(before)) or 0
