"""Enqueueing jobs, and asking what became of them."""

import re
from typing import Any
from uuid import UUID

from flask import Blueprint, abort, jsonify
from flask.typing import ResponseReturnValue
from pydantic import ValidationError
from sqlalchemy import Connection
from werkzeug.exceptions import MethodNotAllowed

from spoils.config import current_settings
from spoils.cron import Cron
from spoils.errors import PayloadError
from spoils.job import Job
from spoils.job.base import field_messages
from spoils.job.registry import registry
from spoils.models import TaskState, db
from spoils.queue import inspect
from spoils.queue.counts import count_tasks
from spoils.queue.enqueue import enqueue_surely, log_enqueued
from spoils.web.api import body, serialize
from spoils.web.errors import answer
from spoils.web.masking import masked

routes = Blueprint("jobs", __name__, url_prefix="/api/jobs")

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


@routes.post("/<endpoint>")
def create(endpoint: str) -> ResponseReturnValue:
    """Enqueue the job class of that endpoint; the body is its payload."""
    job_class = registry.at_endpoint(endpoint)
    if job_class is None:
        if endpoint == "status":
            raise MethodNotAllowed(["GET", "HEAD", "OPTIONS"])
        known = ", ".join(registry.endpoints())
        abort(404, f'There is no job "{endpoint[:100]}". There are: {known}.')
    text, given = body.json_object()
    if unknown := sorted(given.keys() - job_class.model_fields.keys()):
        fields = ", ".join(job_class.model_fields) or "none"
        return answer(
            422, f'"{unknown[0][:100]}" is no field of {job_class.__name__}, whose fields are: {fields}.'
        )
    try:
        job = job_class.model_validate_json(text, strict=True)
        enqueued = enqueue_surely(db.engine, job)
    except ValidationError as exc:
        messages = field_messages(exc)
        sentence = " ".join(f"{field}: {message}" for field, message in messages.items())
        return answer(422, sentence, fields=messages)
    except PayloadError as exc:
        return answer(422, str(exc))
    log_enqueued(job, enqueued)
    return jsonify(
        {
            **_echo(job),
            "message": job.enqueued_message,
            "id": str(enqueued.id),
            "state": enqueued.state.value,
            "duplicate": enqueued.duplicate,
        }
    )


@routes.get("/status")
def status() -> ResponseReturnValue:
    """Whether the queue works, how much there is of what, who works, and what comes next by the clock."""
    counts = count_tasks(db.session.connection())
    totals = {state.value: sum(of_type[state] for of_type in counts.values()) for state in TaskState}
    return jsonify(
        {
            "message": "Job queue is operational",
            "status": "running",
            "counts": totals,
            "counts_by_type": {
                task_type: {state.value: number for state, number in of_type.items()}
                for task_type, of_type in sorted(counts.items())
            },
            "workers": [serialize.worker(row) for row in inspect.live_workers(db.session)],
            "schedules": _schedules(db.session.connection()),
        }
    )


@routes.get("/<task_id>")
def show(task_id: str) -> ResponseReturnValue:
    """One task and its attempts that did not finish, the last one first."""
    # No `<uuid:…>` in the route: the rule of `create` stands before it, and would take every id for a text.
    if not _UUID.fullmatch(task_id):
        if registry.at_endpoint(task_id):
            raise MethodNotAllowed(["POST", "OPTIONS"])
        abort(404, f'"{task_id[:100]}" is no id of a job: a UUID is needed.')
    row = inspect.find_task(db.session, UUID(task_id))
    if row is None:
        abort(404, f"There is no job {task_id}: it was never enqueued, or it was deleted.")
    attempts = [serialize.attempt(one) for one in inspect.attempts_of(db.session, row.id)]
    return jsonify({**serialize.task(row), "attempt_log": attempts})


def _echo(job: Job) -> dict[str, Any]:
    """The payload, as the guide's answers have it; names that the answer itself uses are its own."""
    payload: dict[str, Any] = masked(job.model_dump(mode="json"))
    return payload


def _schedules(connection: Connection) -> list[dict[str, Any]]:
    now = inspect.server_now(connection)
    known = {(row.job, row.cron, row.zone): row for row in inspect.schedules(db.session)}
    found = []
    for job_class in registry:
        if job_class.cron is None:
            continue
        cron = Cron(job_class.cron, job_class.cron_timezone or current_settings().cron_timezone)
        row = known.get((job_class.__name__, cron.expression, cron.zone))
        found.append(
            serialize.schedule(
                row,
                job=job_class.__name__,
                cron=cron.expression,
                zone=cron.zone,
                next_tick=cron.next_after(now),
            )
        )
    return found
