"""Reading a request's JSON strictly: what Python's parser would let pass, a client meant otherwise."""

import json
import re
from typing import Any, NoReturn

from flask import abort, g, request
from gunicorn.http.errors import ParseException

DEEPEST = 32
# The closing quote may be missing: a search that fails at the end of the text begins again at every further quote.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_TOO_LONG_NUMBER = 40  # digits; far beyond int64, far below what makes int() slow


class _Refused(ValueError):
    """A sentence for the client."""


def json_object() -> tuple[str, dict[str, Any]]:
    """The body's text and the object that it holds. Aborts with 400, 413 or 415 and a sentence."""
    if request.mimetype != "application/json":
        abort(415, "Send the payload as JSON, with Content-Type: application/json.")
    try:
        text = sent().decode("utf-8")
    except UnicodeDecodeError:
        abort(400, "The body is not valid UTF-8.")
    if not text.strip():
        abort(400, "The body is empty; a JSON object is needed.")
    return text, _parse(text)


def nothing() -> None:
    """For what takes no payload. Aborts with 415 where a form or a text was sent, with 422 where fields were."""
    if request.mimetype and request.mimetype != "application/json":
        abort(415, "This takes no form and no text: send no body, or {} as application/json.")
    if sent().strip() not in (b"", b"{}"):
        abort(422, "This takes no payload: send no body, or {}.")


def sent() -> bytes:
    """The request's body, read once. Aborts with 400 or 413."""
    if "api_body" not in g:
        g.api_body = _read()
    found: bytes = g.api_body
    return found


def _read() -> bytes:
    try:
        body = request.get_data(cache=False)
        # Behind gunicorn, werkzeug's stream of a body of no told length just ends at the limit.
        if len(body) >= (request.max_content_length or 0) and request.environ["wsgi.input"].read(1):
            abort(413)
    except ParseException:
        abort(400, "The body is not framed as HTTP asks.")
    if len(body) < (request.content_length or 0):
        abort(400, "The body broke off before the end that its Content-Length tells.")
    return body


def _parse(text: str) -> dict[str, Any]:
    try:
        if _depth(text) > DEEPEST:
            raise _Refused(f"The JSON is nested too deeply: at most {DEEPEST} levels are taken.")
        value = json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_int=_int,
            parse_float=_float,
        )
    except _Refused as exc:
        abort(400, str(exc))
    except json.JSONDecodeError as exc:
        abort(400, f"The body is not valid JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}.")
    if not isinstance(value, dict):
        abort(400, 'A JSON object is needed, as in {"barcode": "737628064502"}.')
    return value


def _depth(text: str) -> int:
    """How deep the brackets of a JSON text nest; strings are taken out first, since they may hold any."""
    deepest = depth = 0
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Refused("A key stands twice in one object.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON.")


def _int(digits: str) -> int:
    if len(digits) > _TOO_LONG_NUMBER:
        raise _Refused(f"A number has {len(digits):,} digits; at most {_TOO_LONG_NUMBER} are taken.")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _Refused("A number is too large.")
    return number
