"""The response bodies of the API. Each model serializes the answer and describes it in the OpenAPI document."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from flask import Response as HttpResponse
from flask import current_app
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from spoils import models
from spoils.job.outcome import Ending
from spoils.masking import masked, masked_text
from spoils.models import DbSession, TaskState
from spoils.queue.outputs import progress_of
from spoils.queue.tasks import attempts_of, steps_of
from spoils.reports.run_times import last_ran_ms
from spoils.web.openapi import Error, Instant, Response

Masked = Annotated[Any, BeforeValidator(masked)]
MaskedText = Annotated[str, AfterValidator(masked_text)]
Tenths = Annotated[float, AfterValidator(lambda value: round(value, 1))]


def respond(body: BaseModel, status: int = 200) -> HttpResponse:
    """The HTTP response with this body."""
    return json_response(body.model_dump_json(), status)


def json_response(text: str, status: int) -> HttpResponse:
    """The HTTP response with this JSON text."""
    return current_app.response_class(f"{text}\n", status, mimetype="application/json")


class Health(Response):
    """The service can answer requests."""

    status: str


class Outcome(Response):
    """The job that an enqueue request created, or with `duplicate` the equal unique job that already existed."""

    id: UUID
    state: TaskState
    duplicate: bool


class Enqueued(Outcome):
    """An enqueued job of any class."""

    type: str
    payload: Any
    message: str


class EnqueuedOfClass(Outcome):
    """The enqueued job, beside the fields of its payload."""

    model_config = ConfigDict(extra="allow")

    message: str


class Batch(Response):
    """One outcome for each job of the batch, in the same order."""

    jobs: list[Outcome]
    enqueued: int
    duplicates: int


class Counts(Response):
    """How many members of a batch are in which state; `active` ones wait or run."""

    total: int
    active: int
    finished: int
    failed: int
    cancelled: int


class BatchOrChain(Response):
    """A batch or a chain: the counts of its members, and the job that it enqueued last."""

    id: UUID
    kind: str = Field(json_schema_extra={"enum": ["batch", "chain"]})
    name: MaskedText | None
    condition: str = Field(json_schema_extra={"enum": ["end", "success"]})
    created_at: Instant
    ended_at: Instant | None
    counts: Counts
    links_to_come: int
    """Links of a chain that are not enqueued yet; 0 for a batch."""
    enqueued_id: UUID | None
    """The job `then`, once it is enqueued; of a chain its latest link."""


class JobError(Response):
    """An invalid job of a batch."""

    index: int
    error: str


class BatchError(Error):
    """Why the batch was refused, with the first 100 invalid jobs."""

    errors: list[JobError] = Field(default_factory=list)


class Changed(Response):
    """The result of an action; `state` is null when the job was deleted."""

    id: UUID
    state: TaskState | None
    message: str


class Refusal(Response):
    """Why an action was refused: the state of the job, and the unique duplicate that prevents it."""

    error: str
    state: TaskState | None
    twin: UUID | None


class Task(Response):
    """A job: waiting, running or ended. Secrets in its payload and its error are masked."""

    id: UUID
    state: TaskState
    task_type: str
    metadata: Masked = Field(validation_alias="payload")
    error: MaskedText | None = Field(validation_alias="error_message")
    retries: int
    attempts: int
    crashes: int
    priority: int = Field(validation_alias="own_priority")
    scheduled_at: Instant
    created_at: Instant
    updated_at: Instant
    claimed_at: Instant | None
    claimed_by: UUID | None
    cancel_requested_at: Instant | None
    ran_ms: int | None = None
    """The run time of the last attempt; null while it runs."""


TaskModel = TypeVar("TaskModel", bound=Task)


class Attempt(Response):
    """An attempt that did not finish the job."""

    attempt: int
    outcome: str = Field(json_schema_extra={"enum": [ending.value for ending in Ending]})
    error_class: str | None
    message: MaskedText | None
    claimed_at: Instant | None
    ended_at: Instant
    ran_ms: int | None
    delay_ms: int | None
    worker: UUID | None = Field(validation_alias="worker_id")
    release: str | None


class Step(Response):
    """A step that the job has done, with its result. Secrets in it are masked."""

    name: str
    attempt: int
    done_at: Instant
    ran_ms: int
    result: Masked


class Progress(Response):
    """How far the last attempt is: `done` of `of`, which is null if the job does not say it."""

    done: float
    of: float | None
    note: MaskedText | None


class TaskWithAttempts(Task):
    """A job, with its last 100 attempts that did not finish, the latest first, and its first 100 steps. Secrets in its
    result are masked."""

    batch_id: UUID | None
    """The batch or chain that the job is a member of."""
    result: Masked = None
    """What the job returned with `Done`; null without one."""
    attempt_log: list[Attempt] = Field(default_factory=list)
    steps: list[Step] = Field(default_factory=list)
    progress: Progress | None = None
    """What the last attempt has reported; null if it reported nothing, or has finished without `keep_log`."""


class Page(Response):
    """Jobs, the most recently changed first; `older` and `newer` are the cursors of the adjacent pages."""

    jobs: list[Task]
    older: str | None
    newer: str | None


class Worker(Response):
    """A worker process whose last heartbeat is at most 30 s old."""

    id: UUID
    host: str
    pid: int
    release: str
    task_types: list[str]
    threads: int
    running: int
    started_at: Instant
    beat_at: Instant


class Schedule(Response):
    """The cron expression of a job class, and its next tick."""

    job: str
    cron: str
    timezone: str
    next: Instant
    known_to_workers: bool


class ScheduleDetails(Response):
    """A schedule: that of a job class (`source` is `code`), or one made at runtime, whose payload is masked."""

    name: str
    source: Literal["code", "runtime"]
    job: str
    cron: str
    timezone: str
    payload: Masked
    """The given fields; the others take their defaults at each tick."""
    next: list[Instant]
    """The next five ticks; none while it is paused."""
    paused_at: Instant | None
    paused_by: str | None
    made_by: str | None
    ping_url: str | None
    """The scheme and host of the URL that is called after a job of it has finished."""
    problem: str | None
    """Why its ticks wait; null if they do not."""


class Schedules(Response):
    """All schedules: those of job classes, and those made at runtime."""

    schedules: list[ScheduleDetails]


class ScheduleDeleted(Response):
    """The result of deleting a schedule."""

    name: str
    message: str


class Status(Response):
    """Counts of jobs, running workers and schedules."""

    message: str
    status: str
    counts: dict[str, int]
    counts_by_type: dict[str, dict[str, int]]
    workers: list[Worker]
    schedules: list[Schedule]


class TypeStats(Response):
    """Figures of one task type: its jobs now, and the outcomes and run times of the recent attempts."""

    waiting: int
    running: int
    oldest_due_at: Instant | None
    growth_per_second: Tenths | None
    clears_in_seconds: Tenths | None
    outcomes: dict[str, int]
    average_ms: Tenths | None
    p50_ms: Tenths | None
    p95_ms: Tenths | None
    p99_ms: Tenths | None
    waited_p50_ms: Tenths | None
    waited_p95_ms: Tenths | None


class Stats(Response):
    """Figures by task type."""

    minutes: int
    at: Instant
    types: dict[str, TypeStats]


class Reason(Response):
    """One reason, with facts about it by its kind."""

    model_config = ConfigDict(extra="allow")

    kind: str
    holds: bool


class WhyWaiting(Response):
    """Why a job does not run."""

    id: UUID
    state: TaskState
    waits: bool
    reasons: list[Reason]


def tasks(session: DbSession, rows: Sequence[models.Task], model: type[TaskModel]) -> list[TaskModel]:
    """These rows as `model`, with their run times."""
    ran_ms = last_ran_ms(session, rows)
    return [
        model.model_validate(row).model_copy(update={"ran_ms": _rounded(ran_ms.get(row.id))}) for row in rows
    ]


def whole_task(session: DbSession, row: models.Task) -> TaskWithAttempts:
    """A row with its attempts that did not finish, its steps and its progress."""
    (task,) = tasks(session, [row], TaskWithAttempts)
    attempts = [Attempt.model_validate(one) for one in attempts_of(session, row.id)]
    steps = [Step.model_validate(one) for one in steps_of(session, row.id)]
    found = progress_of(session, [(row.id, row.attempts)]).get(row.id)
    progress = Progress.model_validate(found) if found else None
    return task.model_copy(update={"attempt_log": attempts, "steps": steps, "progress": progress})


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)
