"""The contract: a job, and the queue as its `run` sees it."""

import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from pydantic import ConfigDict, ValidationError
from sqlalchemy.orm import Session

from spoils.errors import PayloadError
from spoils.job import backoff, wire
from spoils.job.batch import BatchClosed, BatchResult, Condition, checked_name
from spoils.job.definition import (
    check_fields,
    check_methods,
    check_names,
    check_payload,
    text_of,
    wrong,
)
from spoils.job.job_classes import JobClasses
from spoils.job.outcome import Outcome
from spoils.job.output import JobLog
from spoils.job.policies import COMMON, Policies, check_policies
from spoils.job.unique import OnDuplicate, Unique

registry: JobClasses["Job"] = JobClasses()
Result = TypeVar("Result")


class Member(NamedTuple):
    """A job to be enqueued: `at` is the aware moment before which it is not due, `priority` −2 … 2."""

    job: "Job"
    at: datetime | None = None
    priority: int = 0


class Batch:
    """Collects the jobs of a batch; they are enqueued together at the end of the `with` block."""

    def __init__(
        self, batch_id: UUID, *, then: "Job | None" = None, name: str | None = None, on: Condition = "end"
    ) -> None:
        if on not in ("end", "success"):
            raise ValueError('on is "end" or "success".')
        self.id = batch_id
        self.name = checked_name(name)
        self.then = then
        self.on = on
        self.members: list[Member] = []
        self._closed = False

    def enqueue(self, job: "Job", *, at: datetime | None = None, priority: int = 0) -> None:
        """Make `job` a member. `at` is the moment before which it is not due, `priority` is −2 … 2, higher first."""
        if self._closed:
            raise BatchClosed
        self.members.append(Member(job, at, priority))

    def close(self) -> None:
        """Refuse further members: they would be lost."""
        self._closed = True


class Chain:
    """Jobs each of which is enqueued when the one before has finished."""

    def __init__(self, chain_id: UUID, links: list[Member], *, name: str | None = None) -> None:
        if not links:
            raise ValueError("A chain needs at least one job.")
        self.id = chain_id
        self.name = checked_name(name)
        self.links = links


class Queue(Protocol):
    """The queue as a job's `run` sees it, for the time of one attempt."""

    @property
    def task_id(self) -> UUID:
        """The id of the task's row."""

    @property
    def attempt(self) -> int:
        """Which failure-counted attempt this is, from 0: the number that `backoff` would get if it failed."""

    @property
    def session(self) -> Session:
        """A session whose writes commit together with this task's completion, or not at all.

        Opened at first use. A commit or rollback of the job's own ends only a savepoint. An `async def run` calls
        `in_session` instead.
        """

    def in_session(self, function: Callable[[Session], Result], /) -> Awaitable[Result]:
        """For an `async def run`: call `function` with the attempt's session, in a thread; one call at a time.

        What it writes commits together with this task's completion, or not at all. Where it raises, its own writes are
        undone.
        """

    @property
    def cancelled(self) -> bool:
        """Whether an operator has asked this task to stop."""

    @property
    def stopping(self) -> bool:
        """Whether the worker is shutting down; a job that has not ended by its deadline is released."""

    def checkpoint(self) -> None:
        """End here, if the worker is stopping or an operator has cancelled: call it where it is safe to.

        Raises an exception that only the queue should catch. A stopping worker gives the task back uncounted.
        """

    @property
    def log(self) -> JobLog:
        """A logger whose lines carry the task's id and attempt.

        `queue.log("text")` logs at INFO, and keeps the line with the attempt: the last 200 are on the job's page if the
        attempt does not finish, or if the class sets `keep_log = True`.
        """

    def progress(self, done: float, *, of: float | None = None, note: str | None = None) -> None:
        """Report how far the job is, as in `queue.progress(300, of=1000, note="page 3")`.

        The worker stores the latest report with its heartbeat, so a call costs no statement.
        """

    def enqueue(
        self,
        job: "Job",
        *,
        at: datetime | None = None,
        priority: int = 0,
        on_duplicate: OnDuplicate = "skip",
    ) -> None:
        """Enqueue `job` if and when this attempt finishes: it goes in with the task's own completion.

        `at` is the moment before which it is not due (aware; default now), `priority` is −2 … 2, higher first.
        `on_duplicate` says what becomes of an equal unique job that waits: it is left ("skip"), gets the new payload
        ("replace"), or the new payload and moment ("reschedule").
        """

    def batch(
        self, *, then: "Job | None" = None, name: str | None = None, on: Condition = "end"
    ) -> AbstractContextManager[Batch]:
        """Enqueue jobs as a batch, if and when this attempt finishes; `then` is enqueued after the last of them.

            with queue.batch(then=Report(day=day), name="night import") as batch:
                batch.enqueue(Import(shop=7))

        With `on="success"` `then` waits until all members have finished, also by an operator's retry; with "end" it is
        enqueued when each is finished, failed or cancelled. `then` finds their numbers in `queue.batch_result`.
        """

    def add_to_batch(self, job: "Job", *, at: datetime | None = None, priority: int = 0) -> None:
        """Enqueue `job` as `enqueue` does, as a member of the batch that this task is a member of."""

    def chain(
        self,
        first: "Job",
        /,
        *others: "Job",
        name: str | None = None,
        at: datetime | None = None,
        priority: int = 0,
    ) -> UUID:
        """Enqueue `first` as `enqueue` does, and each other job when the one before it has finished. The chain's id.

        Each finds the result of the one before in `queue.previous`. A job that fails stops the chain, and its retry
        resumes it.
        """

    @property
    def batch_result(self) -> BatchResult | None:
        """What became of the members of the batch whose `then` this job is; None for other jobs."""

    @property
    def previous(self) -> Any:
        """What the job before this one in its chain returned with `Done`; None without one."""

    def step(self, name: str, function: Callable[[], Any], /) -> Any:
        """Call `function` once for this task, and return its result, as JSON has it: later attempts get it from the
        database.

        The result, of at most 64 KiB of JSON, is committed at once. `name` is unique within the job. An `async def run`
        writes `await queue.step(name, function)`; there the function may be async.
        """


def _hashed(cls: type["Job"]) -> Collection[str]:
    """The fields whose values make a job of the class unique."""
    uniq = cls.uniq
    if not uniq or cls.uniq_hash is not Job.uniq_hash:
        return ()
    if isinstance(uniq, Unique) and uniq.fields:
        return uniq.fields
    return [*cls.model_fields, *cls.model_computed_fields]


class Job(Policies):
    """One unit of background work: its fields are the payload, `run` does the work, the rest is policy.

    A subclass that defines `run` is known to the worker, the API and the dashboard from its definition on:

        class GreetJob(Job):
            name: str

            def run(self, queue: Queue) -> None:
                queue.log.info("Hello %s", self.name)
    """

    # As constants, infinity and NaN reach what refuses them; pydantic would write some of them as null.
    model_config = ConfigDict(
        extra="ignore", frozen=True, validate_default=True, ser_json_inf_nan="constants"
    )

    def run(self, queue: Queue) -> Outcome | Coroutine[Any, Any, Outcome | None] | None:
        """Do the work. Return None when it is done; Snooze, Cancel or RetryLater, returned or raised, end the attempt
        otherwise, and any other exception fails it. Any other value is a failure.

        An `async def run` is performed by the event loop of the worker.
        """
        raise NotImplementedError

    def backoff(self, attempt: int) -> float:
        """Seconds until the next try after a failure; `attempt` counts from 0. Bounded to 0 … 7 days."""
        return backoff.exponential(attempt)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_names(cls)

    @classmethod
    def __pydantic_on_complete__(cls) -> None:
        # At the definition, or once the last name that an annotation refers to is defined.
        super().__pydantic_on_complete__()
        check_payload(cls, hashed=_hashed(cls))
        if cls.cron is not None:
            _check_defaults(cls)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        check_fields(cls, {"type", *vars(Policies), *vars(Job)})
        if "task_type" not in cls.__dict__ and cls.__base__ is Job:
            cls.task_type = _snake(cls.__name__.removesuffix("Job") or cls.__name__)
        if "endpoint" not in cls.__dict__:
            cls.endpoint = _kebab(
                _snake(cls.__name__.removesuffix("Job"))
                if cls.task_type == COMMON
                else text_of(cls.task_type)
            )
        check_policies(cls)
        check_methods(cls)
        if cls.run is Job.run or inspect.isabstract(cls):
            return  # a base
        if cls.uniq_hash is not Job.uniq_hash and not cls.uniq:
            raise wrong(cls, "uniq_hash is asked of unique jobs only: set uniq = True.")
        if cls.uniq_hash is not Job.uniq_hash and isinstance(cls.uniq, Unique) and cls.uniq.fields:
            raise wrong(cls, "uniq names fields, and uniq_hash is overridden: leave one of them out.")
        registry.add(cls)

    @classmethod
    def from_wire(cls, metadata: str | bytes) -> "Job":
        """The instance whose JSON text is in a task's `metadata`. Raises PayloadError with a sentence."""
        try:
            # What `model_validate_json` calls in the end: every task passes here.
            job: Job = cls.__pydantic_validator__.validate_json(metadata, strict=True)
            return job
        except ValidationError as exc:
            raise PayloadError(f"The payload does not fit {cls.__name__}: {sentences(exc)}") from exc

    def to_wire(self) -> dict[str, Any]:
        """The object that is stored in `metadata`: the fields, flat, and the class's name under `type`.

        Raises PayloadError with a sentence.
        """
        try:
            return {"type": type(self).__name__, **self.model_dump(mode="json")}
        except UnicodeDecodeError as exc:
            raise PayloadError(
                f"The payload of {type(self).__name__} holds bytes that are not UTF-8."
            ) from exc
        except ValueError as exc:
            raise PayloadError(f"The payload of {type(self).__name__} has no JSON form: {exc}") from exc

    def uniq_hash(self) -> str | None:
        """The hash that makes a unique job unique; None where an instance is not. Raises PayloadError on a float.

        A class may override it, to be unique by a part of its payload: `spoils.job.wire.uniq_hash` hashes an object.
        """
        if isinstance(self.uniq, Unique):
            return wire.uniq_hash(self.uniq.part_of(self.to_wire()))
        return wire.uniq_hash(self.to_wire()) if self.uniq else None

    def check_round_trip(self, text: str) -> None:
        """Raise PayloadError where a worker would read another payload in `text`, its JSON, than this one."""
        read = self.from_wire(text)
        changed = [name for name in type(self).model_fields if getattr(read, name) != getattr(self, name)]
        if changed:
            raise PayloadError(
                f"The payload of {type(self).__name__} would not come back from its row as it was enqueued: "
                f"{', '.join(changed)}. Annotate each field with the type that it holds, and let what its "
                "serializer writes be what its validator reads."
            )


def sentences(error: ValidationError) -> str:
    """What pydantic found, as one line: `user_id: Input should be a valid integer.`"""
    return " ".join(f"{field}: {message}" for field, message in field_messages(error).items())


def field_messages(error: ValidationError) -> dict[str, str]:
    """What pydantic found, by field (dotted path), each as one sentence."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(str(part) for part in item["loc"]) or "payload"
        found.setdefault(field, item["msg"].rstrip(".") + ".")
    return found


def _check_defaults(cls: type[Job]) -> None:
    if any(field.is_required() for field in cls.model_fields.values()):
        raise wrong(
            cls, "a job with a cron is made without arguments, so each of its fields needs a default."
        )
    try:
        # What could not be enqueued at a tick would fail again and again, and keep other schedules waiting.
        job = cls()
        job.check_round_trip(wire.canonical(job.to_wire()))
        job.uniq_hash()
    except (ValidationError, PayloadError) as exc:
        sentence = sentences(exc) if isinstance(exc, ValidationError) else str(exc)
        raise wrong(cls, f"its defaults cannot be enqueued: {sentence}") from exc


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _kebab(name: str) -> str:
    return name.replace("_", "-").lower()
