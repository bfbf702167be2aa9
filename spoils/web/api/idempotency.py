"""`Idempotency-Key`: a request that is sent again, since its answer was lost, does nothing again."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, abort, current_app, request
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import was_rolled_back
from spoils.models import db
from spoils.queue import idempotency
from spoils.web.api import answers, body, tokens

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
LONGEST = 255
NO_TOKEN = (
    f"Keys belong to a token, and this request carries none: leave {HEADER} out, or set SPOILS_API_TOKEN at the "
    "server and send that token."
)
OTHER = "This Idempotency-Key came with another request within the last 24 h. Use a new key for each request."


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered. Only one of 200 to 299 is kept: after any other nothing has happened."""

    status: int
    value: dict[str, Any] | list[Any]
    location: str | None = None
    after: Callable[[], None] | None = None
    """Called once its transaction is committed."""


def given() -> str | None:
    """The key of this request, hashed together with whose it is; None without one. Aborts with 400."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    # Callers without a token would share their keys, and could fill the table: each key is a row for a day.
    if not tokens.caller().known:
        abort(400, NO_TOKEN)
    if not (0 < len(key) <= LONGEST and all("!" <= one <= "~" for one in key)):
        abort(400, f"An {HEADER} has 1 to {LONGEST} characters of ASCII and no space.")
    return _digest(tokens.caller().scope.encode(), key.encode())


def once(act: Callable[[Connection], Answer]) -> Response:
    """Do `act` in one transaction and answer; where the request came before with its key, answer as then."""
    key = given()
    for tries_left in (2, 1, 0):
        try:
            return _plainly(act) if key is None else _once(key, _sent(), act)
        except DBAPIError as exc:
            # Whether a commit that was not answered counted is what the key tells.
            again = was_rolled_back(exc) or (key is not None and exc.connection_invalidated)
            if not again or not tries_left:
                raise
    raise AssertionError


def _sent() -> str:
    return _digest(request.method.encode(), request.full_path.encode(errors="replace"), body.sent())


def _plainly(act: Callable[[Connection], Answer]) -> Response:
    with db.engine.begin() as connection:
        answer = act(connection)
        if answer.status >= 400:
            connection.rollback()
    return told(answer)


def _once(key: str, sent: str, act: Callable[[Connection], Answer]) -> Response:
    with db.engine.begin() as connection:
        if kept := idempotency.take(connection, key, sent):
            if kept.request != sent:
                abort(422, OTHER)
            return _response(kept.status, kept.answer, kept.location, replayed=True)
        answer = act(connection)
        if answer.status >= 400:
            connection.rollback()
        else:
            idempotency.keep(
                connection,
                key,
                status=answer.status,
                answer=answers.text_of(answer.value),
                location=answer.location,
            )
    return told(answer)


def told(answer: Answer) -> Response:
    """The response to what has been done."""
    if answer.after:
        answer.after()
    return _response(answer.status, answers.text_of(answer.value), answer.location)


def _response(status: int, text: str, location: str | None, *, replayed: bool = False) -> Response:
    response = current_app.response_class(text + "\n", status, mimetype="application/json")
    if location:
        response.headers["Location"] = location
    if replayed:
        response.headers[REPLAYED] = "true"
    return response


def _digest(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        # The length goes first, so that no two lists of parts are one text.
        found.update(f"{len(part)}:".encode() + part)
    return found.hexdigest()
