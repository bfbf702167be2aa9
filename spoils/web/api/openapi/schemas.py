"""How what the API answers looks, as JSON Schema. Pure."""

from typing import Any

from spoils.job.outcome import Ending
from spoils.models import TaskState

Schema = dict[str, Any]

STATES = [state.value for state in TaskState]
MOMENT: Schema = {"type": "string", "format": "date-time"}
MOMENT_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
ID: Schema = {"type": "string", "format": "uuid"}
ID_OR_NULL: Schema = {"type": ["string", "null"], "format": "uuid"}
TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
NUMBER: Schema = {"type": "integer"}
NUMBER_OR_NULL: Schema = {"type": ["integer", "null"]}
FLOAT_OR_NULL: Schema = {"type": ["number", "null"]}
FLAG: Schema = {"type": "boolean"}
STATE: Schema = {"type": "string", "enum": STATES}
ANYTHING: Schema = {}


def ref(name: str) -> Schema:
    """A schema of `components`."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(items: Schema) -> Schema:
    """An array of these."""
    return {"type": "array", "items": items}


def mapped(values: Schema) -> Schema:
    """An object whose keys are names and whose values are these."""
    return {"type": "object", "additionalProperties": values}


def record(description: str, /, **fields: Schema) -> Schema:
    """An object with these fields, all of them there."""
    return {"type": "object", "description": description, "properties": fields, "required": list(fields)}


def error(description: str, /, **more: Schema) -> Schema:
    """An error with its sentence, and what may stand beside it."""
    return {**record(description, error=TEXT, **more), "required": ["error"]}


_OUTCOME = {"id": ID, "state": STATE, "duplicate": FLAG}
_TASK = {
    "id": ID,
    "state": STATE,
    "task_type": TEXT,
    "metadata": ANYTHING,
    "error": TEXT_OR_NULL,
    "retries": NUMBER,
    "attempts": NUMBER,
    "crashes": NUMBER,
    "priority": NUMBER,
    "scheduled_at": MOMENT,
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "claimed_at": MOMENT_OR_NULL,
    "claimed_by": ID_OR_NULL,
    "cancel_requested_at": MOMENT_OR_NULL,
    "ran_ms": {**NUMBER_OR_NULL, "description": "How long its last attempt took; null while it runs."},
}

SCHEMAS: dict[str, Schema] = {
    "Error": error(
        "What is wrong, as a sentence; for a payload that does not fit, one for each field too.",
        fields=mapped(TEXT),
    ),
    "Refusal": error(
        "Why a verb was refused: the state of the job, and the unique twin that stands in the way.",
        state={"enum": [*STATES, None]},
        twin=ID_OR_NULL,
    ),
    "BatchError": error(
        "What is wrong with the batch, and with which of its jobs; the first 100 are told.",
        errors=listed(record("A job that is wrong.", index=NUMBER, error=TEXT)),
    ),
    "Outcome": record(
        "The task that now stands for a job; `duplicate` where it was there before.", **_OUTCOME
    ),
    "Enqueued": record("What was enqueued.", type=TEXT, payload=ANYTHING, message=TEXT, **_OUTCOME),
    "Batch": record(
        "What became of each job, in the order given.",
        jobs=listed(ref("Outcome")),
        enqueued=NUMBER,
        duplicates=NUMBER,
    ),
    "Changed": record(
        "What a verb did; `state` is null where the job is gone.",
        id=ID,
        state={"enum": [*STATES, None]},
        message=TEXT,
    ),
    "Task": record("A job as it waits, runs or has ended.", **_TASK),
    "Attempt": record(
        "An attempt that did not finish.",
        attempt=NUMBER,
        outcome={"type": "string", "enum": [ending.value for ending in Ending]},
        error_class=TEXT_OR_NULL,
        message=TEXT_OR_NULL,
        claimed_at=MOMENT_OR_NULL,
        ended_at=MOMENT,
        ran_ms=NUMBER_OR_NULL,
        delay_ms=NUMBER_OR_NULL,
        worker=ID_OR_NULL,
        release=TEXT_OR_NULL,
    ),
    "TaskWithAttempts": record(
        "A job, and its attempts that did not finish, the last one first, at most 100.",
        **_TASK,
        attempt_log=listed(ref("Attempt")),
    ),
    "Page": record(
        "Jobs, the last changed first; `older` and `newer` are arguments to go on with.",
        jobs=listed(ref("Task")),
        older=TEXT_OR_NULL,
        newer=TEXT_OR_NULL,
    ),
    "Worker": record(
        "A worker process that beat within the last 30 s.",
        id=ID,
        host=TEXT,
        pid=NUMBER,
        release=TEXT,
        task_types=listed(TEXT),
        threads=NUMBER,
        running=NUMBER,
        started_at=MOMENT,
        beat_at=MOMENT,
    ),
    "Schedule": record(
        "A cron of a job class, and its next moment.",
        job=TEXT,
        cron=TEXT,
        timezone=TEXT,
        next=MOMENT,
        known_to_workers=FLAG,
    ),
    "Status": record(
        "How much there is of what, who works, and what comes next by the clock.",
        message=TEXT,
        status=TEXT,
        counts=mapped(NUMBER),
        counts_by_type=mapped(mapped(NUMBER)),
        workers=listed(ref("Worker")),
        schedules=listed(ref("Schedule")),
    ),
    "Tally": record(
        "Of one type: what waits and runs, and how the attempts of the last minutes ended.",
        waiting=NUMBER,
        running=NUMBER,
        oldest_due_at=MOMENT_OR_NULL,
        outcomes=mapped(NUMBER),
        average_ms=FLOAT_OR_NULL,
        p50_ms=FLOAT_OR_NULL,
        p95_ms=FLOAT_OR_NULL,
        p99_ms=FLOAT_OR_NULL,
    ),
    "Stats": record("Figures by task type.", minutes=NUMBER, at=MOMENT, types=mapped(ref("Tally"))),
    "Health": record("The service can serve.", status=TEXT),
}
