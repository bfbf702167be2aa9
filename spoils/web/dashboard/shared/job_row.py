"""A job as a row of a list: on /jobs, in search results, in a group of failures, in a preview."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from spoils.job import Job
from spoils.job.output import Progress
from spoils.job.registry import registry
from spoils.masking import MASK, masked, masked_text
from spoils.models import WAITING, Task, TaskState
from spoils.queue.outputs import progress_of
from spoils.reports.given_up import given_up
from spoils.reports.run_times import last_ran_ms, running_ms
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.actions import Action, actions_for
from spoils.web.dashboard.shared.states import VIEWS, StateView

FIELD_LENGTH = 40
SUMMARY_LENGTH = 80
MESSAGE_LENGTH = 200
_IDENTITY = re.compile(r"^id$|_id$|code$|^key$|^name$")
GAVE_UP = "Gave up"
"""What pages call the end of a job that returned `Cancel`: an operator cancels."""
_CLASS_AND_MESSAGE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_.]{0,99}): (?P<message>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pair:
    """A field of a payload and its value, in one line."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class ErrorView:
    """An error: its class, which may be unknown, and its message."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class ProgressView:
    """How far a job is: in words, and in percent if it says of how much."""

    text: str
    percent: float | None


@dataclass(frozen=True, slots=True)
class JobRow:
    """What a list shows of a job."""

    id: str
    short_id: str
    task_type: str
    summary: tuple[Pair, ...]
    state: StateView
    error: ErrorView | None
    note: str
    progress: "ProgressView | None"
    attempts: str
    ran: str
    moment: formats.Moment
    """When it changed, or is due."""
    actions: tuple[Action, ...]


def job_rows(
    session: Session, tasks: Sequence[Task], now: datetime, *, by_due: bool = False
) -> tuple[JobRow, ...]:
    """The rows of `tasks` as seen at `now`, of a list that is sorted by when they change or are due."""
    ran, ended_themselves = last_ran_ms(session, tasks), given_up(session, tasks)
    progress = progress_of(
        session, [(task.id, task.attempts) for task in tasks if task.state is TaskState.IN_PROGRESS]
    )
    return tuple(
        _row(
            task,
            now,
            ran.get(task.id),
            progress.get(task.id),
            gave_up=task.id in ended_themselves,
            by_due=by_due,
        )
        for task in tasks
    )


def _row(
    task: Task, now: datetime, ran_ms: float | None, progress: Progress | None, *, gave_up: bool, by_due: bool
) -> JobRow:
    return JobRow(
        id=str(task.id),
        short_id=short_id(task.id),
        task_type=named(task.task_type),
        summary=summary(task.payload),
        state=VIEWS[task.state],
        error=_error(task, gave_up=gave_up),
        note="" if by_due else _note(task, now),
        progress=progress_view(progress),
        attempts=attempts(task),
        ran=formats.run_time(ran_ms),
        moment=formats.moment(task.scheduled_at if by_due else task.updated_at, now),
        actions=actions_for(task, now),
    )


def short_id(task_id: object) -> str:
    """The end of an id, which is random; ids of one minute begin alike."""
    return str(task_id)[-8:]


def named(task_type: str) -> str:
    """The type as pages write it; rows of other programs may have none."""
    return formats.one_line(task_type) or "no type"


def class_of(task: Task) -> type[Job] | None:
    """The job class that the payload names, if this program has it."""
    return registry.get(str(task.payload.get("type"))) if isinstance(task.payload, dict) else None


def summary(payload: Any, most: int = 3) -> tuple[Pair, ...]:
    """The scalar fields of a payload, ids first, without secrets and the class name."""
    if not isinstance(payload, dict):
        return (_pair("", json.dumps(masked(payload), ensure_ascii=False)),)
    plain = [
        (field, value)
        for field, value in masked(payload).items()
        if field != "type" and isinstance(value, str | int | float) and value not in ("", MASK)
    ]
    # jsonb keeps no order of fields: what identifies a job goes first.
    plain.sort(key=lambda item: not _IDENTITY.search(item[0]))
    return tuple(_pair(field, value) for field, value in plain[:most])


def _error(task: Task, *, gave_up: bool) -> ErrorView | None:
    if gave_up:
        reason = formats.one_line(masked_text(task.error_message or ""))
        return ErrorView(GAVE_UP, formats.shortened(reason, MESSAGE_LENGTH))
    return error_view(task.error_message) if task.state in (TaskState.FAILED, TaskState.RETRIED) else None


def error_view(text: str | None) -> ErrorView | None:
    """The class and the message of a stored error, each in one line."""
    if not text:
        return None
    text = masked_text(text)
    found = _CLASS_AND_MESSAGE.fullmatch(text.strip())
    name, message = (found["name"], found["message"]) if found else ("", text)
    return ErrorView(name.rpartition(".")[2], formats.shortened(formats.one_line(message), MESSAGE_LENGTH))


def progress_view(progress: Progress | None) -> ProgressView | None:
    """A progress as pages show it: "300 of 1,000 · page 3"."""
    if progress is None:
        return None
    done, of = (None if each is None else f"{each:,.15g}" for each in progress[:2])
    note = formats.one_line(masked_text(progress.note or ""))
    text = " · ".join(filter(None, (f"{done} of {of}" if of else f"{done} done", note)))
    return ProgressView(text, min(100.0, 100 * progress.done / progress.of) if progress.of else None)


def attempts(task: Task) -> str:
    """ "2 of 4": times claimed, of those that its class allows; the number alone if that is unknown or exceeded."""
    job_class = class_of(task)
    if job_class is None or task.attempts > job_class.max_retries + 1:
        return formats.number(task.attempts)
    return f"{task.attempts} of {job_class.max_retries + 1}"


def _pair(field: str, value: object) -> Pair:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return Pair(
        formats.shortened(formats.one_line(field), FIELD_LENGTH),
        formats.shortened(formats.one_line(text), SUMMARY_LENGTH),
    )


def _note(task: Task, now: datetime) -> str:
    if task.state in WAITING and task.scheduled_at > now:
        return f"due {formats.moment(task.scheduled_at, now).age}"
    if task.state in WAITING:
        return f"due for {formats.span((now - task.scheduled_at).total_seconds())}"
    if task.state is TaskState.IN_PROGRESS:
        asked = "asked to stop, " if task.cancel_requested_at else ""
        return f"{asked}for {formats.span(running_ms(task, now) / 1_000)}"
    return ""
