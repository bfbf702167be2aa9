"""Builds the job that a client asks for: validation of the payload for the API's requests and the dashboard's forms."""

import json
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError

from spoils.errors import SpoilsError
from spoils.job import Job
from spoils.job.base import field_messages

PAYLOAD_BYTES = 64 * 1024
"""The largest payload of one job, in a batch too: a worker claims up to 250 at once."""
FIELD_ERRORS = 20
"""The most invalid fields that are named for one job; each invalid element of a list counts."""


class InvalidRequest(SpoilsError):
    """The job cannot be enqueued as requested; `fields` has a sentence for each invalid field."""

    def __init__(self, sentence: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.fields = fields or {}


def build_job(job_class: type[Job], payload: dict[str, Any], text: str | None = None) -> Job:
    """The job with this payload, or with its JSON `text` if that is at hand. Raises InvalidRequest.

    Unknown fields are refused, so that a misspelt field is reported and not ignored.
    """
    refuse_unknown(payload, job_class, job_class.__name__)
    try:
        return job_class.model_validate_json(text or _json_of(payload), strict=True)
    except ValidationError as exc:
        raise invalid(exc) from exc


def refuse_unknown(given: dict[str, Any], model: type[BaseModel], name: str) -> None:
    """Raise InvalidRequest where a field is none of the model's."""
    # Not left to pydantic, which makes an error for each of them, and there may be many.
    if unknown := given.keys() - model.model_fields.keys():
        known = ", ".join(model.model_fields) or "none"
        first = min(unknown)[:100]
        sentence = f'Unknown field "{first}" of {name}. Its fields: {known}.'
        raise InvalidRequest(sentence, {first: sentence})


def invalid(error: ValidationError) -> InvalidRequest:
    """What pydantic found, as one error."""
    messages = dict(islice(field_messages(error).items(), FIELD_ERRORS))
    return InvalidRequest(" ".join(f"{name}: {message}" for name, message in messages.items()), messages)


def _json_of(payload: dict[str, Any]) -> bytes:
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    if len(text) > PAYLOAD_BYTES:
        raise InvalidRequest(
            f"The payload has {len(text):,} bytes as JSON; at most {PAYLOAD_BYTES:,} are allowed."
        )
    return text
