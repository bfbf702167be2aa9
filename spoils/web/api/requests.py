"""The request bodies of the API: a job of any class, and many of them."""

import re
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any

from annotated_types import Len
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from spoils.job import Job, OnDuplicate
from spoils.job.registry import registry
from spoils.queue.enqueue_many import Order
from spoils.web.api import bounds
from spoils.web.build_job import InvalidRequest, build_job, invalid, refuse_unknown
from spoils.web.datetimes import in_utc

SUGGESTIONS = 20
"""How many classes the answer to an unknown name lists, the most similar first."""
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9:]+)")


def _moment(value: Any) -> Any:
    # Pydantic would take numbers too, as seconds or milliseconds by their size.
    if value is not None and not (isinstance(value, str) and _MOMENT.fullmatch(value)):
        raise PydanticCustomError("moment", "A time is ISO 8601 with its zone: 2026-11-24T02:00:00Z.")
    return value


def _in_utc(moment: datetime | None) -> datetime | None:
    try:
        return moment and in_utc(moment)
    except ValueError as exc:
        raise PydanticCustomError("moment", "{sentence}", {"sentence": str(exc)}) from exc


def _names(schema: dict[str, Any]) -> None:
    schema["enum"] = sorted(
        {name for one in registry.public() for name in (one.__name__, one.endpoint, one.task_type)}
    )


class JobRequest(BaseModel):
    """One job to enqueue."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: Annotated[
        str,
        Field(min_length=1, max_length=200, strict=True, examples=["CleanupJob"], json_schema_extra=_names),
    ]
    """The name of the class, its endpoint, or its task type."""
    payload: dict[str, Any] = Field(default_factory=dict)
    """The fields of the class."""
    scheduled_at: Annotated[AwareDatetime | None, BeforeValidator(_moment), AfterValidator(_in_utc)] = None
    """Not due before this time; a time in the past means now."""
    priority: Annotated[int, Field(ge=-2, le=2, strict=True)] = 0
    """−2 to 2; within its type a higher priority runs first."""
    on_duplicate: OnDuplicate = "skip"
    """What becomes of an equal unique job that waits: `skip` leaves it, `replace` gives it this payload and priority,
    `reschedule` the time too. The last two need a class that is unique while it waits."""


class JobRequests(RootModel[Annotated[list[JobRequest], Len(1, bounds.BATCH)]]):
    """Many jobs to enqueue."""


class JobRequestLines(RootModel[str]):
    """A JobRequest on each line."""


def read_request(given: object) -> Order:
    """The order in a JSON value of a client. Raises InvalidRequest."""
    if not isinstance(given, dict):
        raise InvalidRequest('An object is required, as in {"type": "FetchProductJob", "payload": {…}}.')
    refuse_unknown(given, JobRequest, "a job request")
    try:
        request = JobRequest.model_validate(given)
    except ValidationError as exc:
        raise invalid(exc) from exc
    job = build_job(class_named(request.type), request.payload)
    return Order(job, request.scheduled_at, request.priority, request.on_duplicate)


def class_named(name: str) -> type[Job]:
    """The class that a client names by its name, its endpoint or its task type. Raises InvalidRequest."""
    found = registry.named(name)
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(sorted(one.__name__ for one in found))
        sentence = f'"{name[:100]}" is the task type of several classes: {several}. Name one of them.'
    else:
        sentence = f'Unknown job class "{name[:100]}". Job classes: {_most_similar(name[:100])}.'
    raise InvalidRequest(sentence, {"type": sentence})


def _most_similar(name: str) -> str:
    names = [one.__name__ for one in registry.public()]
    listed = ", ".join(get_close_matches(name, names, n=SUGGESTIONS, cutoff=0))
    return listed if len(names) <= SUGGESTIONS else f"{listed} and {len(names) - SUGGESTIONS} others"
