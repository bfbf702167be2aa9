"""The base class of every job."""

import inspect
import re
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from spoils.errors import PayloadError
from spoils.job import backoff, wire
from spoils.job.definition import (
    check_fields,
    check_methods,
    check_names,
    check_payload,
    check_policies,
    text_of,
    wrong,
)
from spoils.job.outcome import Outcome
from spoils.job.queue import Queue
from spoils.job.registry import registry

COMMON = "common"


class Job(BaseModel):
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
        """Do the work. Return None when it is done; Snooze, Cancel or RetryLater, returned or raised, end the attempt
        otherwise, and any other exception fails it. Any other value is a failure."""
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
        check_payload(cls, hashed=cls.uniq and cls.uniq_hash is Job.uniq_hash)
        if cls.cron is not None:
            _check_defaults(cls)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        check_fields(cls, {"type", *vars(Job)})
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
