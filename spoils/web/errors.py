"""Error responses: JSON for programs, pages for people, and never a traceback."""

import logging
import time

from flask import Flask, jsonify, make_response, render_template, request
from flask.typing import ResponseReturnValue
from psycopg2 import errorcodes
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import BadHost, HTTPException

from spoils.db.trouble import Trouble, database_answers, log_success, logged_as_outage
from spoils.errors import UnsuitableDatabase
from spoils.models import db
from spoils.queue.enqueue import DuplicateVanished

log = logging.getLogger("spoils.web")
# Shared by all requests, so that an outage does not log a line for each.
_trouble = Trouble("The database")

DOCS = "/api/docs"

SENTENCES = {
    400: "The request is incomplete or not valid HTTP.",
    401: "A token is required. Send it as Authorization: Bearer <token>.",
    403: "This is not allowed.",
    404: "There is nothing at this address.",
    405: "This address does not allow that method.",
    429: "Too many requests from your address. Try again in a few minutes.",
    500: "Internal error. The server's log has the details.",
    503: "The database does not answer. Try again in a moment.",
}
BAD_HOST = "The Host header is not a valid host name."
TOO_SLOW = (
    "The query took the database too long and was cancelled. Narrow the filter, or try again in a moment."
)
NO_RIGHT = (
    "The database refuses this: the role lacks the privilege. Hosts revoke the privilege to write when a database "
    "exceeds its plan."
)


def init_app(app: Flask) -> None:
    """Register the handlers on `app`."""
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(PoolTimeout, _database_away)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(UnsuitableDatabase, _database_away)
    app.register_error_handler(DuplicateVanished, lambda error: answer(503, str(error)))
    app.register_error_handler(Exception, _internal_error)
    with app.app_context():
        event.listen(db.engine, "checkin", _on_checkin)


def wants_json() -> bool:
    """Whether the client of this request is a program."""
    return (request.path.startswith("/api/") and request.path != DOCS) or request.path in (
        "/health",
        "/metrics",
        "/openapi.json",
    )


def answer(status: int, sentence: str | None = None, **more: object) -> ResponseReturnValue:
    """An error response; all have this shape."""
    text = sentence or _sentence(status) or "The request cannot be processed."
    # With an invalid host name no page can be rendered, since it could not link to others.
    if wants_json() or isinstance(request.routing_exception, BadHost):
        response = jsonify({"error": text, **more})
        response.headers["Cache-Control"] = "no-store"
        return response, status
    return render_template("error.html", status=status, sentence=text, **more), status


def _sentence(status: int) -> str | None:
    if status == 413:
        return (
            f"The request is too large: at most {(request.max_content_length or 0) // 1024} KiB are allowed."
        )
    return SENTENCES.get(status)


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if isinstance(error, BadHost):
        return answer(400, BAD_HOST)
    status = error.code or 500
    if error.response is not None or 300 <= status < 400:
        return error
    # A sentence passed to abort() is ours; werkzeug's default texts are replaced.
    own = error.description if error.description != type(error).description else None
    response = make_response(answer(status, _sentence(status) if own is None else own))
    for name, value in error.get_headers():
        # Allow, WWW-Authenticate, Retry-After: HTTP requires them.
        if name != "Content-Type":
            response.headers[name] = value
    return response


def _database_error(error: DBAPIError) -> ResponseReturnValue:
    code = getattr(error.orig, "pgcode", None)
    if code == errorcodes.QUERY_CANCELED:
        return _too_slow()
    # During a failover the new primary is read-only at first, which counts as an outage.
    if (
        isinstance(error, OperationalError)
        or error.connection_invalidated
        or code == errorcodes.READ_ONLY_SQL_TRANSACTION
    ):
        return _database_away(error)
    if code == errorcodes.INSUFFICIENT_PRIVILEGE:
        _log_trouble("The database refuses a statement", error)
        return answer(503, NO_RIGHT)
    return _internal_error(error)


def _too_slow() -> ResponseReturnValue:
    log.warning("Query timeout: %s %s", request.method, request.path, extra={"action": "answer"})
    return answer(503, TOO_SLOW)


def _database_away(error: Exception) -> ResponseReturnValue:
    if not logged_as_outage("web", error):
        _log_trouble("The database does not answer", error)
    return answer(503)


def _log_trouble(what: str, error: Exception) -> None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if (note := _trouble.met(time.monotonic(), (what, type(cause)))) is not None:
        message = str(cause).partition("\n")[0]
        log.warning("%s: %s: %s%s", what, type(cause).__name__, message, note, extra={"action": "answer"})


def _on_checkin(connection: DBAPIConnection | None, _record: object) -> None:
    if connection is not None:  # None if the connection was lost
        database_answers()
        log_success(_trouble)


def _internal_error(error: Exception) -> ResponseReturnValue:
    log.error(
        "Internal error: %s %s", request.method, request.path, exc_info=error, extra={"action": "answer"}
    )
    return answer(500)
