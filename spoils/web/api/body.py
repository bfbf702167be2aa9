"""Strict reading of JSON bodies: duplicate keys, NaN and other things that Python's parser accepts are refused."""

import json
import re
from io import BytesIO
from typing import Any, NoReturn

from flask import abort, g, request
from gunicorn.http.errors import ParseException

from spoils.web.api import bounds

DEEPEST = 32
LINES = ("application/x-ndjson", "application/jsonl", "application/ndjson")
# The closing quote is optional: otherwise a search that fails at the end would restart at every further quote.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
# JSON has at least one of these for each value, and each line of JSON ends with one.
_MARKS = (b"[", b"]", b"{", b"}", b",", b'"', b"\n")
_TOO_LONG_NUMBER = 40  # digits; far beyond int64, far below what makes int() slow


class Unreadable(ValueError):
    """A sentence for the client."""


def json_object() -> tuple[str, dict[str, Any]]:
    """The text of the body and the object in it. Aborts with 400, 413 or 415 and a sentence."""
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
        raise Unreadable('A JSON object is required, as in {"user_id": 7}.')
    return text, value


def json_list(most: int) -> list[Any]:
    """The values of a JSON array, or of lines of JSON; 1 to `most`. Aborts with 400, 413, 415 or 422 and a sentence."""
    if request.mimetype not in ("application/json", *LINES):
        abort(415, f"Send an array as application/json, or one job per line as {LINES[0]}.")
    _check_marks(sent())
    try:
        return _lines(most) if request.mimetype in LINES else _array(most)
    except Unreadable as exc:
        abort(400, str(exc))


def nothing() -> None:
    """Check that there is no payload. Aborts with 415 on a form or text, with 422 on fields."""
    if request.mimetype and request.mimetype != "application/json":
        abort(415, "This endpoint takes no form or text. Send no body, or {} as application/json.")
    if sent().strip() not in (b"", b"{}"):
        abort(422, "This endpoint takes no payload. Send no body, or {}.")


def sent() -> bytes:
    """The request's body, read once. Aborts with 400 or 413."""
    if "api_body" not in g:
        g.api_body = _read()
    found: bytes = g.api_body
    return found


def _read() -> bytes:
    try:
        body = request.get_data(cache=False)
        # Behind gunicorn, werkzeug's stream of a chunked body just ends at the limit.
        if len(body) >= (request.max_content_length or 0) and request.environ["wsgi.input"].read(1):
            abort(413)
    except ParseException:
        abort(400, "The chunked encoding of the body is invalid.")
    if len(body) < (request.content_length or 0):
        abort(400, "The body is shorter than its Content-Length.")
    return body


def _lines(most: int) -> list[Any]:
    values: list[Any] = []
    # Line by line, to bound memory. Lines of bytes end only at a line feed; those of a str also end at characters
    # that are valid inside JSON.
    for number, line in enumerate(BytesIO(sent()), start=1):
        if line.strip():
            if len(values) == most:
                abort(422, f"1 to {most:,} jobs are allowed in a batch; this one has more.")
            values.append(_parse(_text(line, "a line of JSON"), f"Line {number}: "))
    if not values:
        raise Unreadable("The body is empty; one job per line is required.")
    return values


def _array(most: int) -> list[Any]:
    values = _parse(_text(sent(), "a JSON array"))
    if not isinstance(values, list):
        raise Unreadable('A JSON array is required, as in [{"type": "CleanupJob"}].')
    if not 1 <= len(values) <= most:
        abort(
            422 if values else 400,
            f"1 to {most:,} jobs are allowed in a batch; this one has {len(values):,}.",
        )
    return values


def _check_marks(data: bytes) -> None:
    """Abort with 413, before decoding, if the decoded values could take far more memory than the body."""
    number = sum(map(data.count, _MARKS))
    if number > bounds.BATCH_MARKS:
        abort(
            413,
            f"The body has {number:,} brackets, braces, commas, quotes and line ends; at most "
            f"{bounds.BATCH_MARKS:,} are allowed. Send fewer jobs at a time.",
        )


def _text(data: bytes, needed: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("The body is not valid UTF-8.") from None
    if not text.strip():
        raise Unreadable(f"The body is empty; {needed} is required.")
    return text


def _parse(text: str, place: str = "") -> Any:
    if text.startswith("\ufeff"):
        raise Unreadable(f"{place}The body is not valid JSON: it starts with a byte order mark.")
    try:
        if _is_too_deep(text):
            raise Unreadable(f"The JSON is nested too deeply: at most {DEEPEST} levels are allowed.")
        return _decode(text)
    except Unreadable as exc:
        raise Unreadable(f"{place}{exc}") from exc
    except json.JSONDecodeError as exc:
        where = f"column {exc.colno}" if place else f"line {exc.lineno}, column {exc.colno}"
        raise Unreadable(f"{place}The body is not valid JSON: {exc.msg} at {where}.") from exc


def _is_too_deep(text: str) -> bool:
    """Whether the brackets of a JSON text nest deeper than allowed. Brackets in strings do not count."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return False  # too few to nest deeper
    deepest = depth = 0
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > DEEPEST


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable("An object has the same key twice.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"{name} is not JSON.")


def _int(digits: str) -> int:
    if len(digits) > _TOO_LONG_NUMBER:
        raise Unreadable(f"A number has {len(digits):,} digits; at most {_TOO_LONG_NUMBER} are allowed.")
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
