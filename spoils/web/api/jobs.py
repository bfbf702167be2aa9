"""Enqueueing one job: by its class's own endpoint, as the guide has it, or any class by name."""

from typing import Any

from flask import abort, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from werkzeug.exceptions import MethodNotAllowed

from spoils.errors import PayloadError
from spoils.job.policies import RESERVED_ENDPOINTS
from spoils.models import db
from spoils.queue.enqueue import Enqueued, enqueue, enqueue_surely, log_enqueued
from spoils.queue.enqueue_many import Order
from spoils.web.api import answers, body, idempotency
from spoils.web.api.blueprint import routes
from spoils.web.api.idempotency import Answer
from spoils.web.api.order import Refused, class_named, read_job, read_order
from spoils.web.errors import answer


@routes.post("/<name>")
def create(name: str) -> ResponseReturnValue:
    """Enqueue a job of the class that the address names; the body is its payload."""
    if name in RESERVED_ENDPOINTS:
        raise MethodNotAllowed(["GET", "HEAD", "OPTIONS"])
    try:
        job_class = class_named(name)
    except Refused as exc:
        abort(404, str(exc))
    text, given = body.json_object()
    try:
        job = read_job(job_class, given, text)
        return _put(Order(job), answers.payload(job))
    except (Refused, PayloadError) as exc:
        return refusal(exc)


@routes.post("")
def create_any() -> ResponseReturnValue:
    """Enqueue a job of any class by name, now or not before a moment, first or last."""
    _, given = body.json_object()
    try:
        order = read_order(given)
        more = {"type": type(order.job).__name__, "payload": answers.payload(order.job)}
        return _put(order, more)
    except (Refused, PayloadError) as exc:
        return refusal(exc)


def refusal(error: Refused | PayloadError) -> ResponseReturnValue:
    """The answer to an order that cannot be taken."""
    fields = {"fields": error.fields} if isinstance(error, Refused) and error.fields else {}
    return answer(422, str(error), **fields)


def _put(order: Order, more: dict[str, Any]) -> ResponseReturnValue:
    def answer_to(enqueued: Enqueued) -> Answer:
        return Answer(
            200,  # as the guide's endpoints answer; `duplicate` tells whether it was there before
            answers.told(order.job, enqueued, more),
            location=url_for("api.jobs.show", task_id=enqueued.id),
            after=lambda: log_enqueued(order.job, enqueued),
        )

    if idempotency.given() is None:
        enqueued = enqueue_surely(db.engine, order.job, at=order.at, priority=order.priority)
        return idempotency.told(answer_to(enqueued))

    def act(connection: Connection) -> Answer:
        return answer_to(enqueue(connection, order.job, at=order.at, priority=order.priority))

    return idempotency.once(act)
