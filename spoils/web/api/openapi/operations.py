"""What is known of each endpoint beyond its route: its words, arguments, body and answers. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spoils.reports.job_list import PAGE
from spoils.web.api import bounds
from spoils.web.api.openapi.schemas import ID, NUMBER, STATE, TEXT, Schema, listed, ref

DESCRIPTIONS = {
    304: "Nothing has changed since the answer that `If-None-Match` names.",
    400: "The address, an argument or a header is not in its form, or the body is no JSON of the form needed.",
    401: "A token is needed.",
    403: "The request came from a page of another site.",
    404: "There is no such thing.",
    409: "The state of the job does not allow it, or a unique twin stands in the way. Nothing was done.",
    413: "The body is too large.",
    414: "Method, address and version are longer than 4,094 bytes. The server answers this before the API, in HTML.",
    415: "The body is not of the content type needed.",
    422: "The body does not fit, or the Idempotency-Key came with another request. Nothing was done.",
    429: "A client without a token asks too often, or the queue is full.",
    503: "The database does not answer, or took too long.",
}
ENQUEUED = "It was enqueued, or with `duplicate` the same unique job waits or runs already. `Location` is where it is."


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    summary: str
    tag: str = "Jobs"
    description: str = ""
    arguments: tuple[Schema, ...] = ()
    body: dict[str, Schema] | None = None
    body_needed: bool = True
    answers: dict[int, tuple[str, str]] = field(default_factory=dict)
    """The good ones, by status: what it says, and the name of its schema."""
    errors: tuple[int, ...] = ()
    """Statuses beside those that every operation may answer."""
    refusals: dict[int, str] = field(default_factory=dict)
    """Errors with a schema of their own."""
    writes: bool = False


def argument(name: str, description: str, schema: Schema, *, place: str = "query") -> Schema:
    """A parameter."""
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": schema,
    }


def whole(least: int, most: int, otherwise: int) -> Schema:
    """A whole number within bounds."""
    return {**NUMBER, "minimum": least, "maximum": most, "default": otherwise}


IDEMPOTENCY_KEY = argument(
    "Idempotency-Key",
    "A text of your own for this request. Sent again within 24 h, it does nothing again and gets its first answer. "
    "Only with a token: without one it is refused with 400.",
    {**TEXT, "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    place="header",
)
TASK_ID = argument("task_id", "The id of a job.", ID, place="path")
PLACE: Schema = {**TEXT, "minLength": 1, "maxLength": 200}
ONE_ORDER = {"application/json": ref("Order")}
MANY_ORDERS = {
    "application/json": {**listed(ref("Order")), "minItems": 1, "maxItems": bounds.BATCH},
    "application/x-ndjson": {**TEXT, "description": "An Order in each line."},
}


def _verb(summary: str, description: str) -> Operation:
    return Operation(
        summary,
        description=description,
        answers={200: ("It is done.", "Changed")},
        errors=(404, 415, 422),
        refusals={409: "Refusal"},
        writes=True,
    )


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("api.jobs.create_any", "POST"): Operation(
        "Enqueue a job of any class",
        description="By the name of its class, of its endpoint, or its task type; now, or not before a moment.",
        body=ONE_ORDER,
        answers={200: (ENQUEUED, "Enqueued")},
        errors=(413, 415, 422),
        writes=True,
    ),
    ("api.jobs.create_batch", "POST"): Operation(
        "Enqueue many jobs",
        description=f"Up to {bounds.BATCH:,} and 8 MiB, as an array or as lines of JSON; all of them or none. The body "
        f"has at most {bounds.BATCH_MARKS:,} brackets, braces, commas, quotes and line ends, and each payload 64 KiB.",
        body=MANY_ORDERS,
        answers={200: ("All of them were enqueued, or were there already.", "Batch")},
        errors=(413, 415),
        refusals={422: "BatchError"},
        writes=True,
    ),
    ("api.jobs.index", "GET"): Operation(
        "List jobs",
        description="The last changed first.",
        arguments=(
            argument("state", "Only those in this state.", STATE),
            argument("type", "Only those of this task type.", {**TEXT, "minLength": 1, "maxLength": 255}),
            argument("older", "What an answer named `older`.", PLACE),
            argument("newer", "What an answer named `newer`.", PLACE),
            argument("limit", "How many at most.", whole(1, bounds.LISTED, PAGE)),
        ),
        answers={200: ("A page of the list.", "Page")},
    ),
    ("api.jobs.show", "GET"): Operation(
        "Look at a job",
        description="With `wait` the answer comes when the job has ended, or after so many seconds with the job as it "
        "is. Where too many wait already it comes at once, with `Retry-After`.",
        arguments=(argument("wait", "Seconds to wait for its end.", whole(0, bounds.WAIT_SECONDS, 0)),),
        answers={200: ("The job.", "TaskWithAttempts")},
        errors=(304, 404),
    ),
    ("api.jobs.retry", "POST"): _verb(
        "Retry a job", "A failed one is new and due now, with no retries counted."
    ),
    ("api.jobs.run_now", "POST"): _verb("Run a job now", "A waiting one is due now."),
    ("api.jobs.cancel", "POST"): _verb(
        "Cancel a job", "A waiting one is failed; a running one is asked to stop."
    ),
    ("api.jobs.delete", "DELETE"): _verb("Delete a job", "One that does not run."),
    ("api.jobs.status", "GET"): Operation(
        "Check the queue", tag="Queue", answers={200: ("How the queue does.", "Status")}
    ),
    ("api.jobs.stats", "GET"): Operation(
        "Read figures by type",
        tag="Queue",
        description="What waits and runs, and how the attempts of the last minutes ended and how long they took.",
        arguments=(argument("minutes", "How far to look back.", whole(1, 1440, 60)),),
        answers={200: ("The figures.", "Stats")},
    ),
    ("api.health.health", "GET"): Operation(
        "Ask whether it serves", tag="Queue", answers={200: ("It does.", "Health")}
    ),
}


def of(
    operations: Mapping[tuple[str, str], Operation], endpoint: str, method: str, docstring: str
) -> Operation:
    """The operation of a route; one that nobody has described here is told by its docstring alone."""
    found = operations.get((endpoint, method))
    writes = method not in ("GET", "HEAD")
    return found or Operation(
        docstring.strip().partition("\n")[0].rstrip("."),
        answers={200: ("It is done.", "Anything")},
        errors=(404, 409, 413, 415, 422) if writes else (404,),
        writes=writes,
    )


def path_arguments(names: set[str]) -> list[Schema]:
    """The parameters of a path."""
    known: dict[str, Any] = {"task_id": TASK_ID}
    return [known.get(name) or argument(name, "", TEXT, place="path") for name in sorted(names)]
