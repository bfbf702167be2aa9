"""Reading a request's JSON strictly: what Python's parser would let pass, a client meant otherwise."""

import json
import re
from io import BytesIO
from typing import Any, NoReturn

from flask import abort, g, request
from gunicorn.http.errors import ParseException

from spoils.web.api import bounds

DEEPEST = 32
LINES = ("application/x-ndjson", "application/jsonl", "application/ndjson")
# The closing quote may be missing: a search that fails at the end of the text begins again at every further quote.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
# A JSON text has at least one of these for each of its values, and each line of JSON ends with one.
_MARKS = (b"[", b"]", b"{", b"}", b",", b'"', b"\n")
_TOO_LONG_NUMBER = 40  # digits; far beyond int64, far below what makes int() slow


class Unreadable(ValueError):
    """A sentence for the client."""


def json_object() -> tuple[str, dict[str, Any]]:
    """The body's text and the object that it holds. Aborts with 400, 413 or 415 and a sentence."""
    if request.mimetype != "application/json":
        abort(415, "Send the payload as JSON, with Content-Type: application/json.")
    try:
        return object_in(sent())
    except Unreadable as exc:
        abort(400, str(exc))


def object_in(data: bytes) -> tuple[str, dict[str, Any]]:
    """The text and the object of a body. Raises Unreadable."""
    text = _text(data, "a JSON object")
    value = _parse(text)
    if not isinstance(value, dict):
        raise Unreadable('A JSON object is needed, as in {"user_id": 7}.')
    return text, value


def json_list(most: int) -> list[Any]:
    """The values of a JSON array, or of lines of JSON; 1 to `most`. Aborts with 400, 413, 415 or 422 and a sentence."""
    if request.mimetype not in ("application/json", *LINES):
        abort(415, f"Send an array as application/json, or a line for each job as {LINES[0]}.")
    _check_marks(sent())
    try:
        return _lines(most) if request.mimetype in LINES else _array(most)
    except Unreadable as exc:
        abort(400, str(exc))


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


def _lines(most: int) -> list[Any]:
    values: list[Any] = []
    # One line at a time, however many there are. Lines of bytes end at a line feed alone; those of a str also at
    # characters that may stand in a JSON text.
    for number, line in enumerate(BytesIO(sent()), start=1):
        if line.strip():
            if len(values) == most:
                abort(422, f"1 to {most:,} jobs are taken at a time; these are more.")
            values.append(_parse(_text(line, "a line of JSON"), f"Line {number}: "))
    if not values:
        raise Unreadable("The body is empty; a line of JSON for each job is needed.")
    return values


def _array(most: int) -> list[Any]:
    values = _parse(_text(sent(), "a JSON array"))
    if not isinstance(values, list):
        raise Unreadable('A JSON array is needed, as in [{"type": "CleanupJob"}].')
    if not 1 <= len(values) <= most:
        abort(422 if values else 400, f"1 to {most:,} jobs are taken at a time; these are {len(values):,}.")
    return values


def _check_marks(data: bytes) -> None:
    """Abort with 413 where what is decoded could be far larger than the body: before it is decoded."""
    number = sum(map(data.count, _MARKS))
    if number > bounds.BATCH_MARKS:
        abort(
            413,
            f"The body has {number:,} brackets, braces, commas, quotes and line ends; at most "
            f"{bounds.BATCH_MARKS:,} are taken at a time. Send fewer jobs at a time.",
        )


def _text(data: bytes, needed: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("The body is not valid UTF-8.") from None
    if not text.strip():
        raise Unreadable(f"The body is empty; {needed} is needed.")
    return text


def _parse(text: str, place: str = "") -> Any:
    if text.startswith("\ufeff"):
        raise Unreadable(f"{place}The body is not valid JSON: it begins with a byte order mark.")
    try:
        if _is_too_deep(text):
            raise Unreadable(f"The JSON is nested too deeply: at most {DEEPEST} levels are taken.")
        return _decode(text)
    except Unreadable as exc:
        raise Unreadable(f"{place}{exc}") from exc
    except json.JSONDecodeError as exc:
        where = f"column {exc.colno}" if place else f"line {exc.lineno}, column {exc.colno}"
        raise Unreadable(f"{place}The body is not valid JSON: {exc.msg} at {where}.") from exc


def _is_too_deep(text: str) -> bool:
    """Whether the brackets of a JSON text nest deeper than allowed; those in strings do not count."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return False  # so few cannot nest deeper, wherever they stand
    deepest = depth = 0
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > DEEPEST


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable("A key stands twice in one object.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"{name} is not JSON.")


def _int(digits: str) -> int:
    if len(digits) > _TOO_LONG_NUMBER:
        raise Unreadable(f"A number has {len(digits):,} digits; at most {_TOO_LONG_NUMBER} are taken.")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise Unreadable("A number is too large.")
    return number


# Made once: json.loads would make a decoder for each call.
_decode = json.JSONDecoder(
    object_pairs_hook=_no_duplicates,
    parse_constant=_no_constant,
    parse_int=_int,
    parse_float=_float,
).decode
