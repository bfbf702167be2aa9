"""The operator's actions on one job."""

from typing import Any

from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from spoils.queue import actions, tasks
from spoils.web.api import body, idempotency, tokens
from spoils.web.api.blueprint import routes
from spoils.web.api.idempotency import Answer
from spoils.web.api.ids import no_such_job, task_id_of
from spoils.web.api.responses import Changed, Refusal
from spoils.web.openapi import operation

DESCRIBED: dict[str, Any] = {"errors": (404,), "error_models": {409: Refusal}}


@routes.post("/<task_id>/retry")
@operation(Changed, "Retried.", **DESCRIBED)
def retry(task_id: str) -> ResponseReturnValue:
    """Retry a job.

    A failed job becomes new and due now, with no retries counted.
    """
    return _act("retry", task_id)


@routes.post("/<task_id>/run-now")
@operation(Changed, "Due now.", **DESCRIBED)
def run_now(task_id: str) -> ResponseReturnValue:
    """Run a job now.

    A waiting job becomes due now.
    """
    return _act("run_now", task_id)


@routes.post("/<task_id>/cancel")
@operation(Changed, "Cancelled, or asked to stop.", **DESCRIBED)
def cancel(task_id: str) -> ResponseReturnValue:
    """Cancel a job.

    A waiting job fails; a running job is asked to stop.
    """
    return _act("cancel", task_id)


@routes.delete("/<task_id>")
@operation(Changed, "Deleted.", **DESCRIBED)
def delete(task_id: str) -> ResponseReturnValue:
    """Delete a job.

    A running job cannot be deleted.
    """
    return _act("delete", task_id)


def _act(action: str, task_id: str) -> ResponseReturnValue:
    wanted = task_id_of(task_id)
    body.nothing()

    def act(connection: Connection) -> Answer:
        change = actions.act(connection, action, wanted, who=tokens.caller().audit_name)
        with Session(connection) as session:
            row = tasks.find_task(session, wanted)
        state = row.state if row else None
        if change.done:
            return Answer(200, Changed(id=wanted, state=state, message=change.sentence))
        if row is None:
            no_such_job(task_id)
        return Answer(409, Refusal(error=change.sentence, state=state, twin=change.duplicate))

    return idempotency.once(act)
