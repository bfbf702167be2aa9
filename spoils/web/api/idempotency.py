"""`Idempotency-Key`: a repeated request, whose first response was lost, changes nothing and gets that response."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from flask import Response, abort, request
from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import was_rolled_back
from spoils.models import db
from spoils.queue import idempotency
from spoils.web.api import body, tokens
from spoils.web.api.responses import json_response

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
LONGEST = 255
NO_TOKEN = (
    f"{HEADER} requires a token, and this request has none: omit the header, or set SPOILS_API_TOKEN on the server "
    "and send that token."
)
OTHER = f"This {HEADER} was used with another request in the last 24 h. Use a new key for each request."


@dataclass(frozen=True, slots=True)
class Answer:
    """What to respond. Only a status below 300 is kept; any other one rolls back."""

    status: int
    body: BaseModel
    location: str | None = None
    after: Callable[[], None] | None = None
    """Called once the transaction is committed."""


def key_of_request() -> str | None:
    """The key of this request, hashed with its token; None without one. Aborts with 400."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    # Clients without a token would share their keys, and could fill the table: each key is a row for a day.
    if not tokens.caller().known:
        abort(400, NO_TOKEN)
    if not (0 < len(key) <= LONGEST and all("!" <= one <= "~" for one in key)):
        abort(400, f"{HEADER} must have 1 to {LONGEST} printable ASCII characters and no spaces.")
    return _digest(tokens.caller().secret_hash.encode(), key.encode())


def once(act: Callable[[Connection], Answer]) -> Response:
    """Do `act` in one transaction and respond; if the key was used before, send that response again."""
    key = key_of_request()
    for tries_left in (2, 1, 0):
        try:
            return _do(act) if key is None else _do_once(key, act)
        except DBAPIError as exc:
            # The key tells whether a commit that was not answered took effect.
            again = was_rolled_back(exc) or (key is not None and exc.connection_invalidated)
            if not again or not tries_left:
                raise
    raise AssertionError


def respond(answer: Answer) -> Response:
    """The response to what has been committed."""
    if answer.after:
        answer.after()
    return _response(answer.status, answer.body.model_dump_json(), answer.location)


def _do(act: Callable[[Connection], Answer]) -> Response:
    with db.engine.begin() as connection:
        answer = act(connection)
        if answer.status >= 300:
            connection.rollback()
    return respond(answer)


def _do_once(key: str, act: Callable[[Connection], Answer]) -> Response:
    sent = _digest(request.method.encode(), request.full_path.encode(errors="replace"), body.sent())
    with db.engine.begin() as connection:
        if kept := idempotency.take(connection, key, sent):
            if kept.request != sent:
                abort(422, OTHER)
            response = _response(kept.status, kept.answer, kept.location)
            response.headers[REPLAYED] = "true"
            return response
        answer = act(connection)
        if answer.status >= 300:
            connection.rollback()
        else:
            text = answer.body.model_dump_json()
            idempotency.keep(connection, key, status=answer.status, answer=text, location=answer.location)
    return respond(answer)


def _response(status: int, text: str, location: str | None) -> Response:
    response = json_response(text, status)
    if location:
        response.headers["Location"] = location
    return response


def _digest(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        # The length comes first, so that no two lists of parts have the same text.
        found.update(f"{len(part)}:".encode() + part)
    return found.hexdigest()
