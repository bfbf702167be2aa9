"""What is answered to who enqueues."""

import json
from typing import Any

from spoils.job import Job
from spoils.queue.enqueue import Enqueued
from spoils.web.masking import masked

# Made once: json.dumps would make an encoder for each call.
text_of = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
"""The JSON text of an answer."""


def told(job: Job, enqueued: Enqueued, more: dict[str, Any]) -> dict[str, Any]:
    """What became of one job, and `more`; names that the answer itself uses are its own."""
    return {**more, "message": job.enqueued_message, **outcome(enqueued)}


def outcome(enqueued: Enqueued) -> dict[str, Any]:
    """What became of an order: the task that now stands for it."""
    return {"id": enqueued.key, "state": enqueued.state.value, "duplicate": enqueued.duplicate}


def payload(job: Job) -> dict[str, Any]:
    """The payload, as the guide's answers have it."""
    found: dict[str, Any] = masked(job.model_dump(mode="json"))
    return found
