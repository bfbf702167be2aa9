"""The operator's verbs on one job."""

from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from spoils.queue import actions, tasks
from spoils.web.api import body, idempotency, tokens
from spoils.web.api.blueprint import routes
from spoils.web.api.idempotency import Answer
from spoils.web.api.ids import task_id_of


@routes.post("/<task_id>/retry")
def retry(task_id: str) -> ResponseReturnValue:
    """Make a failed job new and due now."""
    return _act("retry", task_id)


@routes.post("/<task_id>/run-now")
def run_now(task_id: str) -> ResponseReturnValue:
    """Make a waiting job due now."""
    return _act("run_now", task_id)


@routes.post("/<task_id>/cancel")
def cancel(task_id: str) -> ResponseReturnValue:
    """Fail a waiting job, or ask a running one to stop."""
    return _act("cancel", task_id)


@routes.delete("/<task_id>")
def delete(task_id: str) -> ResponseReturnValue:
    """Delete a job that does not run."""
    return _act("delete", task_id)


def _act(verb: str, task_id: str) -> ResponseReturnValue:
    wanted = task_id_of(task_id)
    body.nothing()

    def act(connection: Connection) -> Answer:
        change = actions.act(connection, verb, wanted, who=tokens.caller().told)
        with Session(connection) as session:
            row = tasks.find_task(session, wanted)
        state = row.state.value if row else None
        if change.done:
            return Answer(200, {"id": str(wanted), "state": state, "message": change.sentence})
        if row is None:
            sentence = f"There is no job {task_id}: it was never enqueued, or it was deleted."
            return Answer(404, {"error": sentence})
        twin = str(change.duplicate) if change.duplicate else None
        return Answer(409, {"error": change.sentence, "state": state, "twin": twin})

    return idempotency.once(act)
