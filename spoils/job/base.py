"""The base class of every job."""

import re
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from spoils import backoff, wire
from spoils.cron import Cron, CronError
from spoils.errors import JobDefinitionError, PayloadError
from spoils.job.queue import Queue
from spoils.job.registry import registry
from spoils.outcome import Outcome

COMMON = "common"
NOT_FIELDS = (
    "type",
    "uniq",
    "task_type",
    "endpoint",
    "max_retries",
    "cron",
    "cron_timezone",
    "catch_up",
    "overlap",
    "timeout",
    "open",
    "hidden",
    "enqueued_message",
    "backoff",
    "run",
)
RESERVED_ENDPOINTS = {"status", "stats", "batch"}


class Job(BaseModel):
    """One unit of background work: its fields are the payload, `run` does the work, the rest is policy.

    A subclass that defines `run` is known to the worker, the API and the dashboard from its definition on:

        class GreetJob(Job):
            name: str

            def run(self, queue: Queue) -> None:
                queue.log.info("Hello %s", self.name)
    """

    model_config = ConfigDict(extra="ignore", frozen=True, validate_default=True)

    uniq: ClassVar[bool] = False
    """Whether an equal payload may wait or run only once at a time."""
    task_type: ClassVar[str] = COMMON
    """The value of `fang_tasks.task_type`; by default the class's name without "Job", in snake case."""
    endpoint: ClassVar[str] = ""
    """The name under /api/jobs/; by default the task type in kebab case."""
    max_retries: ClassVar[int] = 20
    """How often a failed task is tried again before it is failed for good."""
    cron: ClassVar[str | None] = None
    """Five fields, or six with seconds first: the queue enqueues the class at each slot. All fields need defaults."""
    cron_timezone: ClassVar[str | None] = None
    """The zone of `cron`; by default the setting SPOILS_CRON_TIMEZONE."""
    catch_up: ClassVar[Literal["skip", "once", "all"]] = "skip"
    """What becomes of slots at whose time no worker was live: none runs, one runs for them all, or each does."""
    overlap: ClassVar[bool | None] = None
    """Whether a slot's task may go in while that of the slot before still waits or runs. A unique class never may;
    others may unless this is False."""
    timeout: ClassVar[float | None] = None
    """Seconds that an attempt may take; None sets no bound."""
    open: ClassVar[bool] = False
    """Whether the endpoint is open to everybody while no API token is set."""
    hidden: ClassVar[bool] = False
    """Whether it is the queue's own: without an endpoint, and not offered by the dashboard."""
    enqueued_message: ClassVar[str] = "Job enqueued successfully"
    """What the endpoint answers."""

    def run(self, queue: Queue) -> Outcome | None:
        """Do the work. Return None when done, Snooze(seconds) or Cancel("why"); raise to fail the attempt."""
        raise NotImplementedError

    def backoff(self, attempt: int) -> float:
        """Seconds until the next try after a failure; `attempt` counts from 0. Bounded to 0 … 7 days."""
        return backoff.exponential(attempt)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "task_type" not in cls.__dict__ and cls.__base__ is Job:
            cls.task_type = _snake(cls.__name__.removesuffix("Job") or cls.__name__)
        if "endpoint" not in cls.__dict__:
            cls.endpoint = _kebab(
                _snake(cls.__name__.removesuffix("Job")) if cls.task_type == COMMON else _text(cls.task_type)
            )
        _check(cls)
        if cls.run is not Job.run:
            registry.add(cls)

    @classmethod
    def from_wire(cls, metadata: str | bytes) -> "Job":
        """The instance whose JSON text stands in a task's `metadata`. Raises PayloadError with a sentence."""
        try:
            # What `model_validate_json` calls in the end: every task passes here.
            job: Job = cls.__pydantic_validator__.validate_json(metadata, strict=True)
            return job
        except ValidationError as exc:
            raise PayloadError(f"The payload does not fit {cls.__name__}: {sentences(exc)}") from exc

    def to_wire(self) -> dict[str, Any]:
        """The object that is stored in `metadata`: the fields, flat, and the class's name under `type`."""
        return {"type": type(self).__name__, **self.model_dump(mode="json")}

    def uniq_hash(self) -> str | None:
        """The hash that makes a unique job unique; None for others. Raises PayloadError on a float."""
        return wire.uniq_hash(self.to_wire()) if self.uniq else None


def sentences(error: ValidationError) -> str:
    """What pydantic found, as one line: `barcode: A barcode has digits only.`"""
    return " ".join(f"{field}: {message}" for field, message in field_messages(error).items())


def field_messages(error: ValidationError) -> dict[str, str]:
    """What pydantic found, by field (dotted path), each as one sentence."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(str(part) for part in item["loc"]) or "payload"
        found.setdefault(field, item["msg"].rstrip(".") + ".")
    return found


def _check(cls: type[Job]) -> None:
    def wrong(sentence: str) -> JobDefinitionError:
        return JobDefinitionError(f"{cls.__name__}: {sentence}")

    for name in NOT_FIELDS:
        if name in cls.model_fields:
            raise wrong(f'a field cannot be called "{name}", which means something else here.')
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", _text(cls.task_type)):
        raise wrong("task_type must be 1 to 100 letters, digits, dots, dashes or underscores.")
    if (
        not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,99}", _text(cls.endpoint))
        or cls.endpoint in RESERVED_ENDPOINTS
    ):
        raise wrong(
            f'"{cls.endpoint}" cannot be an endpoint: lower-case letters, digits and dashes are needed.'
        )
    if type(cls.max_retries) is not int or not 0 <= cls.max_retries <= 10_000:
        raise wrong("max_retries must be a whole number from 0 to 10,000.")
    if cls.timeout is not None and (
        type(cls.timeout) not in (int, float) or not 0 < cls.timeout <= 7 * 24 * 3600
    ):
        raise wrong("timeout must be None or seconds from 0 to seven days.")
    if cls.catch_up not in ("skip", "once", "all"):
        raise wrong('catch_up must be "skip", "once" or "all".')
    if cls.overlap and cls.uniq:
        raise wrong("a unique job cannot overlap with itself.")
    for name in ("uniq", "open", "hidden"):
        if type(getattr(cls, name)) is not bool:
            raise wrong(f"{name} must be True or False.")
    for name in ("cron", "cron_timezone"):
        if not isinstance(getattr(cls, name), str | None):
            raise wrong(f"{name} must be None or a text.")
    if cls.cron is not None:
        _check_cron(cls, cls.cron, wrong)


def _check_cron(cls: type[Job], cron: str, wrong: Callable[[str], JobDefinitionError]) -> None:
    try:
        Cron(cron, cls.cron_timezone or "UTC")
    except CronError as exc:
        raise wrong(str(exc)) from exc
    if any(field.is_required() for field in cls.model_fields.values()):
        raise wrong("a job with a cron is made without arguments, so each of its fields needs a default.")
    try:
        # What could not be entered at a slot would fail again and again, and keep other schedules waiting.
        job = cls()
        wire.canonical(job.to_wire())
        job.uniq_hash()
    except (ValidationError, PayloadError) as exc:
        sentence = sentences(exc) if isinstance(exc, ValidationError) else str(exc)
        raise wrong(f"its defaults cannot be enqueued: {sentence}") from exc


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _kebab(name: str) -> str:
    return name.replace("_", "-").lower()
