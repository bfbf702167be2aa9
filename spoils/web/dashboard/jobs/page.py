"""One job, as its page needs it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from spoils.job import Job
from spoils.job.outcome import Ending
from spoils.job.registry import registry
from spoils.models import ACTIVE, WAITING, Attempt, Task, TaskState, Worker
from spoils.queue import tasks
from spoils.reports import find_by_payload
from spoils.reports.run_times import finished_ms, running_ms
from spoils.web.dashboard.audit.view import Entry, show_trail
from spoils.web.dashboard.jobs.timeline import Life, life_of
from spoils.web.dashboard.jobs.why_waiting import Reason, why_it_waits
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.actions import Verb, verbs_for
from spoils.web.dashboard.shared.job_row import (
    ErrorView,
    TaskRow,
    attempts,
    error_view,
    named,
    summary,
    task_rows,
)
from spoils.web.dashboard.shared.states import VIEWS, StateView
from spoils.web.dashboard.shared.status_bar import Strip
from spoils.web.dashboard.shared.traceback import Part, parts
from spoils.web.masking import masked, masked_text

Call = Callable[[type[Job], Any], str]
LONGEST_PAYLOAD = 20_000
UNFAILED = {Ending.RELEASED: "Given back", Ending.SNOOZED: "Asked for a pause", Ending.CANCELLED: "Cancelled"}


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt; `state` says by its glyph how it ended, or that it runs."""

    attempt: int
    claimed: formats.Moment | None
    ran: str
    state: StateView
    ended: str
    message: str
    worker: str
    release: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and what stands behind it; `moment` and `mono` tell how it is set."""

    label: str
    text: str
    note: str = ""
    moment: formats.Moment | None = None
    mono: bool = False


@dataclass(frozen=True, slots=True)
class JobView:
    """What the page of a job shows."""

    id: str
    short_id: str
    task_type: str
    type_filter: str
    subject: str
    state: StateView
    verbs: tuple[Verb, ...]
    untried: bool
    attempts_text: str
    attempts: tuple[AttemptRow, ...]
    error: ErrorView | None
    error_attempt: int | None
    traceback: tuple[Part, ...]
    payload: str
    facts: tuple[Fact, ...]
    life: Life | None
    reasons: tuple[Reason, ...]
    twins: tuple[TaskRow, ...]
    twins_reach: str
    trail: tuple[Entry, ...]
    endpoint: str | None
    """Of the class that it can be enqueued again as; none where no class here has that name."""
    again_waits: bool
    """Whether an equal one would not go in, since this unique one has not ended."""
    curl: str


def show_job(session: Session, task: Task, strip: Strip, call: Call) -> JobView:
    """The page of `task`; `call` makes the command that enqueues it again."""
    ended = tasks.attempts_of(session, task.id)
    names = _worker_names(session, task, ended)
    last = next((each for each in ended if each.error_class or each.message), None)
    twins = find_by_payload.with_hash(session, task.uniq_hash) if task.uniq_hash else ()
    fields = summary(task.payload)
    job_class = _class_of(task)
    return JobView(
        id=str(task.id),
        short_id=str(task.id)[-8:],
        task_type=named(task.task_type),
        type_filter=task.task_type,
        subject=fields[0].value if fields else "",
        state=VIEWS[task.state],
        verbs=verbs_for(task, strip.now),
        untried=task.attempts == 0,
        attempts_text=attempts(task),
        attempts=(*_present(task, strip.now, names), *(_past(each, strip.now, names) for each in ended)),
        error=_error(task, last),
        error_attempt=last.attempt if last else None,
        traceback=parts(masked_text(last.traceback) if last and last.traceback else None),
        payload=pretty(task.payload),
        facts=tuple(_facts(task, strip.now, names)),
        reasons=why_it_waits(session, task, strip.now),
        life=life_of(task, ended, strip.now),
        twins=task_rows(session, [twin for twin in twins if twin.id != task.id], strip.now),
        twins_reach=find_by_payload.REACH_OF_ENDED,
        trail=show_trail(session, task.id, strip.now),
        endpoint=job_class.endpoint if job_class else None,
        again_waits=bool(job_class and job_class.uniq and task.uniq_hash and task.state in ACTIVE),
        curl=call(job_class, task.payload) if job_class else "",
    )


def _class_of(task: Task) -> type[Job] | None:
    found = registry.get(str(task.payload.get("type"))) if isinstance(task.payload, dict) else None
    return found if found and not found.hidden else None


def pretty(payload: object) -> str:
    """A payload as indented JSON with its secrets masked."""
    text = json.dumps(masked(payload), indent=2, ensure_ascii=False)
    return formats.visible(formats.shortened(text, LONGEST_PAYLOAD))


def _worker_names(session: Session, task: Task, ended: Sequence[Attempt]) -> Mapping[UUID, str]:
    ids = {each for each in (task.claimed_by, *(attempt.worker_id for attempt in ended)) if each}
    if not ids:
        return {}
    rows = session.execute(select(Worker.id, Worker.host, Worker.pid).where(Worker.id.in_(ids)))
    return {row.id: f"{row.host} · {row.pid}" for row in rows}


def _name(worker_id: UUID | None, names: Mapping[UUID, str]) -> str:
    return names.get(worker_id, str(worker_id)[:8]) if worker_id else "–"


def _present(task: Task, now: datetime, names: Mapping[UUID, str]) -> list[AttemptRow]:
    """The attempt that is the task's own row: the one that finished it, or the one that runs."""
    if task.state not in (TaskState.FINISHED, TaskState.IN_PROGRESS):
        return []
    finished = task.state is TaskState.FINISHED
    return [
        AttemptRow(
            attempt=task.attempts,
            claimed=formats.moment(task.claimed_at, now),
            ran=formats.run_time(finished_ms(task) if finished else running_ms(task, now)),
            state=VIEWS[task.state],
            ended="Finished" if finished else "Runs now",
            message="It was asked to stop." if task.cancel_requested_at and not finished else "",
            worker=_name(task.claimed_by, names),
            release="–",
        )
    ]


def _past(attempt: Attempt, now: datetime, names: Mapping[UUID, str]) -> AttemptRow:
    given_back = attempt.outcome in (Ending.RELEASED, Ending.SNOOZED)
    word = UNFAILED.get(Ending(attempt.outcome)) if attempt.outcome in list(Ending) else None
    return AttemptRow(
        attempt=attempt.attempt,
        claimed=formats.moment(attempt.claimed_at, now),
        ran=formats.run_time(attempt.ran_ms),
        state=VIEWS[TaskState.NEW if given_back else TaskState.FAILED],
        ended=attempt.error_class or word or attempt.outcome.replace("_", " ").capitalize(),
        message=formats.shortened(formats.one_line(masked_text(attempt.message or "")), 300),
        worker=_name(attempt.worker_id, names),
        release=attempt.release or "–",
    )


def _error(task: Task, last: Attempt | None) -> ErrorView | None:
    if task.state not in (TaskState.FAILED, TaskState.RETRIED) and last is None:
        return None
    if last is not None:
        return ErrorView(
            last.error_class or "", formats.visible(formats.shortened(masked_text(last.message or ""), 5_000))
        )
    return error_view(task.error_message)


def _facts(task: Task, now: datetime, names: Mapping[UUID, str]) -> list[Fact]:
    job_class = registry.get(str(task.payload.get("type"))) if isinstance(task.payload, dict) else None
    retries = f"{task.retries} of {job_class.max_retries} used" if job_class else f"{task.retries} used"
    facts = [Fact("Enqueued", "", moment=formats.moment(task.created_at, now))]
    if task.state in WAITING:
        facts.append(Fact("Due", "", moment=formats.moment(task.scheduled_at, now)))
    facts += [
        Fact("Changed", "", moment=formats.moment(task.updated_at, now)),
        Fact("Priority", str(task.priority)),
        Fact("Retries", retries),
        Fact("Crashes", f"{task.crashes} of 3"),
    ]
    if task.uniq_hash and masked(task.payload) != task.payload:
        facts.append(Fact("Unique", "yes"))  # a hash of a secret could be compared with guesses
    elif task.uniq_hash:
        note = "No equal job is enqueued until this one has ended." if task.state in ACTIVE else ""
        facts.append(Fact("Unique", f"{task.uniq_hash[:8]}…{task.uniq_hash.strip()[-4:]}", note, mono=True))
    else:
        facts.append(Fact("Unique", "no"))
    if task.claimed_by:
        facts.append(Fact("Worker", _name(task.claimed_by, names)))
    elif task.state is TaskState.IN_PROGRESS:
        facts.append(Fact("Worker", "a worker of another system"))
    if task.cancel_requested_at and task.state is TaskState.IN_PROGRESS:
        facts.append(Fact("Asked to stop", "", moment=formats.moment(task.cancel_requested_at, now)))
    return facts
