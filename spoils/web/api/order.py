"""What a client asks to be enqueued: a job of any class by name, and when."""

import json
import re
from datetime import datetime
from difflib import get_close_matches
from itertools import islice
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from spoils.errors import SpoilsError
from spoils.job import Job
from spoils.job.base import field_messages
from spoils.job.registry import registry
from spoils.queue.enqueue_many import Order
from spoils.web.api import bounds
from spoils.web.datetimes import in_utc

NAMES_TOLD = 20
"""How many classes the answer to an unknown name lists, the most similar first."""
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9:]+)")


class Refused(SpoilsError):
    """The order cannot be taken; `fields` has a sentence for each field that is wrong."""

    def __init__(self, sentence: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.fields = fields or {}


def _moment(value: Any) -> Any:
    # Pydantic would take numbers too, as seconds or milliseconds by their size.
    if value is not None and not (isinstance(value, str) and _MOMENT.fullmatch(value)):
        raise PydanticCustomError("moment", "A moment is ISO 8601 with its zone: 2026-11-24T02:00:00Z.")
    return value


def _in_utc(moment: datetime | None) -> datetime | None:
    try:
        return moment and in_utc(moment)
    except ValueError as exc:
        raise PydanticCustomError("moment", "{sentence}", {"sentence": str(exc)}) from exc


class OrderIn(BaseModel):
    """One job to enqueue."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: Annotated[str, Field(min_length=1, max_length=200, strict=True, examples=["CleanupJob"])]
    """The class's name, its endpoint's name, or its task type."""
    payload: dict[str, Any] = Field(default_factory=dict)
    """The fields of the class."""
    scheduled_at: Annotated[AwareDatetime | None, BeforeValidator(_moment), AfterValidator(_in_utc)] = None
    """Not due before this moment; one that has passed means now."""
    priority: Annotated[int, Field(ge=-2, le=2, strict=True)] = 0
    """−2 to 2; higher goes first within its type."""


def read_order(given: object) -> Order:
    """The order in an object of a client's JSON. Raises Refused."""
    if not isinstance(given, dict):
        raise Refused('An object is needed, as in {"type": "CleanupJob", "payload": {…}}.')
    _refuse_unknown(given, OrderIn, "an order")
    try:
        order = OrderIn.model_validate(given)
    except ValidationError as exc:
        raise _refused(exc) from exc
    job_class = class_named(order.type)
    return Order(read_job(job_class, order.payload), order.scheduled_at, order.priority)


def read_job(job_class: type[Job], payload: dict[str, Any], text: str | None = None) -> Job:
    """An instance of the class; `text` is the payload's JSON where it is at hand. Raises Refused.

    Unknown fields are refused: a client's spelling mistake must be told.
    """
    _refuse_unknown(payload, job_class, job_class.__name__)
    try:
        return job_class.model_validate_json(text or _text_of(payload), strict=True)
    except ValidationError as exc:
        raise _refused(exc) from exc


def _refuse_unknown(given: dict[str, Any], model: type[BaseModel], name: str) -> None:
    # Not left to pydantic, which makes an error for each of them, and there may be many.
    if unknown := given.keys() - model.model_fields.keys():
        fields = ", ".join(model.model_fields) or "none"
        first = min(unknown)[:100]
        sentence = f'"{first}" is no field of {name}, whose fields are: {fields}.'
        raise Refused(sentence, {first: sentence})


def _text_of(payload: dict[str, Any]) -> bytes:
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    if len(text) > bounds.PAYLOAD_BYTES:
        raise Refused(
            f"The payload has {len(text):,} bytes as JSON; at most {bounds.PAYLOAD_BYTES:,} are taken."
        )
    return text


def class_named(name: str) -> type[Job]:
    """The class that a caller names by its name, its endpoint or its task type. Raises Refused."""
    found = registry.named(name)
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(sorted(one.__name__ for one in found))
        sentence = f'"{name[:100]}" is the task type of several classes: {several}. Name one of them.'
    else:
        sentence = f'There is no job class "{name[:100]}". There are: {_most_similar(name[:100])}.'
    raise Refused(sentence, {"type": sentence})


def _most_similar(name: str) -> str:
    names = [one.__name__ for one in registry.public()]
    told = ", ".join(get_close_matches(name, names, n=NAMES_TOLD, cutoff=0))
    return told if len(names) <= NAMES_TOLD else f"{told} and {len(names) - NAMES_TOLD} others"


def _refused(error: ValidationError) -> Refused:
    messages = dict(islice(field_messages(error).items(), bounds.FIELD_ERRORS))
    return Refused(" ".join(f"{name}: {message}" for name, message in messages.items()), messages)
