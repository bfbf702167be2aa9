"""Enqueueing: one job by its class's endpoint or by name, and many jobs in one transaction."""

import logging
from collections import Counter
from typing import Any

from flask import Response, abort, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from werkzeug.exceptions import MethodNotAllowed

from spoils.errors import PayloadError
from spoils.job import Job
from spoils.job.policies import RESERVED_ENDPOINTS
from spoils.masking import masked
from spoils.models import db
from spoils.queue.api_tokens import Scope
from spoils.queue.enqueue import Enqueued, enqueue, enqueue_surely, log_enqueued
from spoils.queue.enqueue_many import Order, enqueue_many
from spoils.web.api import body, bounds, idempotency, responses
from spoils.web.api.blueprint import routes
from spoils.web.api.idempotency import Answer
from spoils.web.api.requests import JobRequest, JobRequestLines, JobRequests, class_named, read_request
from spoils.web.build_job import InvalidRequest, build_job
from spoils.web.errors import answer
from spoils.web.openapi import operation

log = logging.getLogger("spoils.enqueue")

ENQUEUED = (
    "Enqueued, or with `duplicate` the equal unique job that already waits, runs, or has an open window."
)


@routes.post("/<name>")
@operation(responses.EnqueuedOfClass, ENQUEUED, location=True, scope=Scope.ENQUEUE)
def create(name: str) -> ResponseReturnValue:
    """Enqueue a job of the class in the path; the body is its payload."""
    if name in RESERVED_ENDPOINTS:
        raise MethodNotAllowed(["GET", "HEAD", "OPTIONS"])
    try:
        job_class = class_named(name)
    except InvalidRequest as exc:
        abort(404, str(exc))
    text, given = body.json_object()
    job = build_job(job_class, given, text)
    # Where a field of the payload has the name of a field of the response, the response's own is sent.
    fields = {**_payload(job), "message": job.enqueued_message}
    return _enqueue(Order(job), responses.EnqueuedOfClass, fields)


@routes.post("")
@operation(
    responses.Enqueued,
    ENQUEUED,
    body={"application/json": JobRequest},
    location=True,
    scope=Scope.ENQUEUE,
)
def create_any() -> ResponseReturnValue:
    """Enqueue a job of any class.

    `type` is the name of its class, its endpoint or its task type. The job is due now, or at `scheduled_at`.
    """
    _, given = body.json_object()
    order = read_request(given)
    job = order.job
    fields = {"type": type(job).__name__, "payload": _payload(job), "message": job.enqueued_message}
    return _enqueue(order, responses.Enqueued, fields)


@routes.post("/batch")
@operation(
    responses.Batch,
    "All jobs were enqueued or already there.",
    body={"application/json": JobRequests, "application/x-ndjson": JobRequestLines},
    error_models={422: responses.BatchError},
    scope=Scope.ENQUEUE,
)
def create_batch() -> ResponseReturnValue:
    """Enqueue many jobs.

    Up to 10,000 jobs and 8 MiB, as a JSON array or as one job per line, in one transaction: all of them or none. The
    body may have at most 1,000,000 brackets, braces, commas, quotes and line ends, and each payload 64 KiB.
    """
    request.max_content_length = bounds.BATCH_BYTES
    orders, errors, invalid = [], [], 0
    for index, one in enumerate(body.json_list(bounds.BATCH)):
        try:
            orders.append(read_request(one))
        except InvalidRequest as exc:
            invalid += 1
            if invalid <= bounds.BATCH_ERRORS:
                errors.append({"index": index, "error": str(exc)})
    if invalid:
        number = "1 job is" if invalid == 1 else f"{invalid:,} jobs are"
        return answer(422, f"{number} invalid, so none was enqueued.", errors=errors)
    try:
        return idempotency.once(lambda connection: _enqueue_many(connection, orders))
    except PayloadError as exc:
        return answer(422, f"No job was enqueued: {exc}")


def _enqueue(order: Order, model: type[responses.Outcome], fields: dict[str, Any]) -> Response:
    def answer_to(enqueued: Enqueued) -> Answer:
        outcome = {"id": enqueued.id, "state": enqueued.state, "duplicate": enqueued.duplicate}
        return Answer(
            200,  # as the guide's endpoints answer; `duplicate` says whether it was there before
            model.model_validate({**fields, **outcome}),
            location=url_for("api.jobs.show", task_id=enqueued.id),
            after=lambda: log_enqueued(order.job, enqueued),
        )

    options: dict[str, Any] = {
        "at": order.at,
        "priority": order.priority,
        "on_duplicate": order.on_duplicate,
    }
    if idempotency.key_of_request() is None:
        # One round trip; if the commit is not answered, the job is looked up by its id.
        return idempotency.respond(answer_to(enqueue_surely(db.engine, order.job, **options)))
    return idempotency.once(lambda connection: answer_to(enqueue(connection, order.job, **options)))


@routes.errorhandler(InvalidRequest)
def _invalid(error: InvalidRequest) -> ResponseReturnValue:
    return answer(422, str(error), **({"fields": error.fields} if error.fields else {}))


@routes.errorhandler(PayloadError)
def _refused(error: PayloadError) -> ResponseReturnValue:
    return answer(422, str(error))


def _enqueue_many(connection: Connection, orders: list[Order]) -> Answer:
    enqueued = enqueue_many(connection, orders)
    duplicates = sum(one.duplicate for one in enqueued)
    batch = responses.Batch(
        jobs=[responses.Outcome.model_validate(one) for one in enqueued],
        enqueued=len(enqueued) - duplicates,
        duplicates=duplicates,
    )
    return Answer(200, batch, after=lambda: _log_many(orders, enqueued))


def _log_many(orders: list[Order], enqueued: list[Enqueued]) -> None:
    new = Counter(type(order.job) for order, one in zip(orders, enqueued, strict=True) if not one.duplicate)
    for job_class, number in new.items():
        log.info(
            "Enqueued %d %s", number, job_class.__name__,
            extra={"action": "enqueue", "task_type": job_class.task_type},
        )  # fmt: skip


def _payload(job: Job) -> dict[str, Any]:
    payload: dict[str, Any] = masked(job.model_dump(mode="json"))
    return payload
