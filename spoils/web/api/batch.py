"""Enqueueing many jobs at once: all of them or none."""

import logging
from collections import Counter
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from spoils.errors import PayloadError
from spoils.queue.enqueue import Enqueued
from spoils.queue.enqueue_many import Order, enqueue_many
from spoils.web.api import answers, body, bounds, idempotency
from spoils.web.api.blueprint import routes
from spoils.web.api.idempotency import Answer
from spoils.web.api.order import Refused, read_order
from spoils.web.errors import answer

log = logging.getLogger("spoils.enqueue")


@routes.post("/batch")
def create_batch() -> ResponseReturnValue:
    """Enqueue up to 10,000 jobs in one transaction, each as POST /api/jobs takes it; an answer for each, in order."""
    request.max_content_length = bounds.BATCH_BYTES
    given = body.json_list(bounds.BATCH)
    orders, errors, wrong = [], [], 0
    for index, one in enumerate(given):
        try:
            orders.append(read_order(one))
        except Refused as exc:
            wrong += 1
            if wrong <= bounds.BATCH_ERRORS:
                errors.append({"index": index, "error": str(exc)})
    if wrong:
        number = "1 of the jobs is" if wrong == 1 else f"{wrong:,} of the jobs are"
        return answer(422, f"{number} wrong, so none was enqueued.", errors=errors)
    try:
        return idempotency.once(lambda connection: _put(connection, orders))
    except PayloadError as exc:
        return answer(422, f"None was enqueued: {exc}")


def _put(connection: Connection, orders: list[Order]) -> Answer:
    enqueued = enqueue_many(connection, orders)
    twins = sum(one.duplicate for one in enqueued)
    value: dict[str, Any] = {
        "jobs": [answers.outcome(one) for one in enqueued],
        "enqueued": len(enqueued) - twins,
        "duplicates": twins,
    }
    return Answer(200, value, after=lambda: _log(orders, enqueued))


def _log(orders: list[Order], enqueued: list[Enqueued]) -> None:
    new = Counter(type(order.job) for order, one in zip(orders, enqueued, strict=True) if not one.duplicate)
    for job_class, number in new.items():
        log.info(
            "Enqueued %d %s", number, job_class.__name__,
            extra={"action": "enqueue", "task_type": job_class.task_type},
        )  # fmt: skip
