"""The page of one job."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.job import Job, Unique
from spoils.job.outcome import Ending
from spoils.job.output import Progress
from spoils.masking import masked, masked_text
from spoils.models import ACTIVE, WAITING, Attempt, Output, Step, Task, TaskState
from spoils.queue import tasks
from spoils.queue.outputs import lines_of, outputs_of
from spoils.reports import find_by_payload
from spoils.reports.given_up import gave_up
from spoils.reports.run_times import finished_ms, running_ms
from spoils.reports.workers import worker_names
from spoils.web.dashboard.audit.view import Entry, log_of_job
from spoils.web.dashboard.jobs.timeline import Timeline, draw_timeline
from spoils.web.dashboard.jobs.why_waiting import Reason, why_it_waits
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.actions import Action, actions_for
from spoils.web.dashboard.shared.batch_link import batch_link
from spoils.web.dashboard.shared.job_row import (
    GAVE_UP,
    ErrorView,
    JobRow,
    ProgressView,
    attempts,
    class_of,
    error_view,
    job_rows,
    named,
    progress_view,
    short_id,
    summary,
)
from spoils.web.dashboard.shared.states import VIEWS, StateView
from spoils.web.dashboard.shared.status_bar import StatusBar
from spoils.web.dashboard.shared.traceback import Part, parse

Call = Callable[[type[Job], Any], str]
LONGEST_PAYLOAD = 20_000
LONGEST_STEP_RESULT = 200
ENDED = {Ending.RELEASED: "Released", Ending.SNOOZED: "Snoozed", Ending.CANCELLED: "Cancelled"}


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt; the glyph of `state` shows how it ended, or that it is running."""

    attempt: int
    claimed: formats.Moment | None
    waited: str
    """How long it waited from when it was due; empty where that is not known."""
    ran: str
    state: StateView
    ended: str
    message: str
    worker: str
    release: str
    progress: ProgressView | None
    lines: tuple[tuple[str, str], ...]
    """Its log lines, each with how long after the start it was written."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step that the job has done."""

    name: str
    attempt: int
    done: formats.Moment | None
    ran: str
    result: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and its value; `moment` and `mono` control how the value is shown."""

    label: str
    text: str
    note: str = ""
    moment: formats.Moment | None = None
    mono: bool = False
    batch: str | None = None
    """The id of the batch that the text links to."""


@dataclass(frozen=True, slots=True)
class JobView:
    """What the page shows."""

    id: str
    short_id: str
    task_type: str
    type_filter: str
    subject: str
    state: StateView
    actions: tuple[Action, ...]
    untried: bool
    attempts_text: str
    attempts: tuple[AttemptRow, ...]
    steps: tuple[StepRow, ...]
    error: ErrorView | None
    error_attempt: int | None
    traceback: tuple[Part, ...]
    payload: str
    result: str | None
    facts: tuple[Fact, ...]
    timeline: Timeline | None
    reasons: tuple[Reason, ...]
    duplicates: tuple[JobRow, ...]
    duplicates_share: str
    """What they have in common with this one."""
    duplicates_of: str
    """Which jobs were searched for duplicates."""
    audit_log: tuple[Entry, ...]
    endpoint: str | None
    """The endpoint of its class; None if this program has no class of that name."""
    editable: bool
    """Whether its payload can be changed by the form of its class."""
    again_waits: bool
    """Whether it cannot be enqueued again yet, because this unique job has not ended."""
    curl: str


def show_job(session: Session, task: Task, bar: StatusBar, call: Call) -> JobView:
    """The page of `task`; `call` makes the curl command that enqueues it again."""
    ended = tasks.attempts_of(session, task.id)
    steps = tasks.steps_of(session, task.id)
    outputs = outputs_of(session, task.id)
    names = _worker_names(session, task, ended)
    last = next((each for each in ended if each.error_class or each.message), None)
    same = find_by_payload.with_hash(session, task.uniq_hash) if task.uniq_hash else ()
    fields = summary(task.payload)
    job_class = class_of(task)
    if job_class is not None and job_class.hidden:
        job_class = None
    return JobView(
        id=str(task.id),
        short_id=short_id(task.id),
        task_type=named(task.task_type),
        type_filter=task.task_type,
        subject=fields[0].value if fields else "",
        state=VIEWS[task.state],
        actions=actions_for(task, bar.now),
        untried=task.attempts == 0,
        attempts_text=attempts(task),
        attempts=(
            *_present(task, bar.now, names, outputs.get(task.attempts)),
            *_past_ones(task, ended, bar.now, names, outputs),
        ),
        steps=tuple(_step(each, bar.now) for each in steps),
        error=_error(task, last),
        error_attempt=last.attempt if last else None,
        traceback=parse(masked_text(last.traceback) if last and last.traceback else None),
        payload=pretty(task.payload),
        result=None if task.result is None else pretty(task.result),
        facts=(*_facts(task, bar.now, names), *_batch_facts(session, task)),
        reasons=why_it_waits(session, task, bar.now),
        timeline=draw_timeline(task, ended, bar.now, steps),
        duplicates=job_rows(session, [each for each in same if each.id != task.id], bar.now),
        duplicates_share=_shared(job_class),
        duplicates_of=find_by_payload.REACH_OF_ENDED,
        audit_log=log_of_job(session, task.id, bar.now),
        endpoint=job_class.endpoint if job_class else None,
        editable=job_class is not None and task.state in (*WAITING, TaskState.FAILED),
        again_waits=bool(
            job_class
            and job_class.uniq
            and task.uniq_hash
            and task.state in (WAITING if task.uniq_waiting else ACTIVE)
        ),
        curl=call(job_class, task.payload) if job_class else "",
    )


def pretty(payload: object) -> str:
    """A payload as indented JSON with its secrets masked."""
    text = json.dumps(masked(payload), indent=2, ensure_ascii=False)
    return formats.visible(formats.shortened(text, LONGEST_PAYLOAD))


def _worker_names(session: Session, task: Task, ended: Sequence[Attempt]) -> Mapping[UUID, str]:
    ids = {each for each in (task.claimed_by, *(attempt.worker_id for attempt in ended)) if each}
    return {each: f"{host} · {pid}" for each, (host, pid) in worker_names(session, ids).items()}


def _name(worker_id: UUID | None, names: Mapping[UUID, str]) -> str:
    return names.get(worker_id, str(worker_id)[:8]) if worker_id else "–"


def _present(task: Task, now: datetime, names: Mapping[UUID, str], output: Output | None) -> list[AttemptRow]:
    """The attempt that is recorded in the row of the task: the one that finished it, or the running one."""
    if task.state not in (TaskState.FINISHED, TaskState.IN_PROGRESS):
        return []
    finished = task.state is TaskState.FINISHED
    return [
        AttemptRow(
            attempt=task.attempts,
            claimed=formats.moment(task.claimed_at, now),
            waited=_waited(task.scheduled_at, task.claimed_at),
            ran=formats.run_time(finished_ms(task) if finished else running_ms(task, now)),
            state=VIEWS[task.state],
            ended="Finished" if finished else "Running",
            message="It was asked to stop." if task.cancel_requested_at and not finished else "",
            worker=_name(task.claimed_by, names),
            release="–",
            progress=_progress(output),
            lines=_lines(output),
        )
    ]


def _past_ones(
    task: Task,
    ended: Sequence[Attempt],
    now: datetime,
    names: Mapping[UUID, str],
    outputs: Mapping[int, Output],
) -> Iterator[AttemptRow]:
    for at, each in enumerate(ended):
        before = ended[at + 1] if at + 1 < len(ended) else None
        due_at = None
        if at == 0 and task.state is TaskState.FAILED:
            due_at = task.scheduled_at
        elif before is not None and before.delay_ms is not None:
            due_at = before.ended_at + timedelta(milliseconds=before.delay_ms)
        yield _past(each, due_at, now, names, outputs.get(each.attempt))


def _waited(due_at: datetime | None, claimed_at: datetime | None) -> str:
    if due_at is None or claimed_at is None or due_at.year <= 1 or claimed_at < due_at:
        return ""
    return formats.run_time((claimed_at - due_at).total_seconds() * 1_000)


def _progress(output: Output | None) -> ProgressView | None:
    if output is None or output.done is None:
        return None
    return progress_view(Progress(output.done, output.total, output.note))


def _lines(output: Output | None) -> tuple[tuple[str, str], ...]:
    if output is None:
        return ()
    return tuple(
        (f"+{line.ms / 1_000:,.1f} s", formats.visible(masked_text(line.text))) for line in lines_of(output)
    )


def _past(
    attempt: Attempt, due_at: datetime | None, now: datetime, names: Mapping[UUID, str], output: Output | None
) -> AttemptRow:
    released = attempt.outcome in (Ending.RELEASED, Ending.SNOOZED)
    word = ENDED.get(Ending(attempt.outcome)) if attempt.outcome in list(Ending) else None
    word = GAVE_UP if gave_up(attempt) else word
    return AttemptRow(
        attempt=attempt.attempt,
        claimed=formats.moment(attempt.claimed_at, now),
        waited=_waited(due_at, attempt.claimed_at),
        ran=formats.run_time(attempt.ran_ms),
        state=VIEWS[TaskState.NEW if released else TaskState.FAILED],
        ended=attempt.error_class or word or attempt.outcome.replace("_", " ").capitalize(),
        message=formats.shortened(formats.one_line(masked_text(attempt.message or "")), 300),
        worker=_name(attempt.worker_id, names),
        release=attempt.release or "–",
        progress=_progress(output),
        lines=_lines(output),
    )


def _shared(job_class: type[Job] | None) -> str:
    uniq = job_class.uniq if job_class else False
    fields = uniq.fields if isinstance(uniq, Unique) else ()
    return " and ".join(fields) or "payload"


def _step(step: Step, now: datetime) -> StepRow:
    return StepRow(
        name=formats.one_line(masked_text(step.name)),
        attempt=step.attempt,
        done=formats.moment(step.done_at, now),
        ran=formats.run_time(step.ran_ms),
        result=formats.shortened(
            formats.one_line(json.dumps(masked(step.result), ensure_ascii=False)), LONGEST_STEP_RESULT
        ),
    )


def _error(task: Task, last: Attempt | None) -> ErrorView | None:
    if task.state not in (TaskState.FAILED, TaskState.RETRIED) and last is None:
        return None
    if last is not None:
        return ErrorView(
            GAVE_UP if gave_up(last) else last.error_class or "",
            formats.visible(formats.shortened(masked_text(last.message or ""), 5_000)),
        )
    return error_view(task.error_message)


def _facts(task: Task, now: datetime, names: Mapping[UUID, str]) -> list[Fact]:
    job_class = class_of(task)
    retries = f"{task.retries} of {job_class.max_retries} used" if job_class else f"{task.retries} used"
    facts = [Fact("Enqueued", "", moment=formats.moment(task.created_at, now))]
    if task.state in WAITING:
        facts.append(Fact("Due", "", moment=formats.moment(task.scheduled_at, now)))
    facts += [
        Fact("Changed", "", moment=formats.moment(task.updated_at, now)),
        Fact("Priority", str(task.own_priority)),
        Fact("Retries", retries),
        Fact("Crashes", f"{task.crashes} of 3"),
    ]
    if task.uniq_hash and masked(task.payload) != task.payload:
        facts.append(Fact("Unique", "yes"))  # a hash of a secret could be compared with guesses
    elif task.uniq_hash:
        until = "is claimed" if task.uniq_waiting else "has ended"
        holds = task.state in (WAITING if task.uniq_waiting else ACTIVE)
        note = f"The same job cannot be enqueued until this one {until}." if holds else ""
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


def _batch_facts(session: Session, task: Task) -> list[Fact]:
    found = []
    if task.batch_id:
        link = batch_link(session, task.batch_id)
        found.append(Fact(link.kind.capitalize(), link.title, batch=link.id))
    ended = (task.previous or {}).get("batch")
    if ended:
        link = batch_link(session, UUID(ended["id"]))
        found.append(Fact("Follows batch", link.title, batch=link.id))
    return found
