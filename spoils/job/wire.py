"""fang's wire form: how a job is stored in `fang_tasks.metadata`, and the hash that makes it unique.

`metadata` is flat, the class's name under `type`. The hash is SHA-256 in hex over the object as JSON with
sorted keys, no spaces and UTF-8, which is what serde_json prints of the same map (fang 0.11).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from spoils.errors import PayloadError

Metadata = Mapping[str, Any]
# Made once: json.dumps would make an encoder for each call.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

# What a float's text has, as some strings have; most payloads have neither.
_LIKE_A_FLOAT = re.compile(r"\d[.e]")


def canonical(metadata: object, what: str = "payload") -> str:
    """The one JSON text of `metadata` that is hashed and stored; errors call it `what`.

    Raises PayloadError if PostgreSQL's jsonb could not hold it.
    """
    try:
        text = _encode(metadata)
        text.encode()
    except UnicodeEncodeError as exc:
        raise PayloadError(f"A text in the {what} holds half a character (a lone surrogate).") from exc
    except ValueError as exc:
        raise PayloadError(
            f"The {what} holds a number that cannot be stored: NaN, infinity, or thousands of digits."
        ) from exc
    except TypeError as exc:
        raise PayloadError(f"The {what} has no JSON form: {exc}.") from exc
    if "\\u0000" in text and _has_nul(metadata):
        raise PayloadError(f"A text in the {what} holds a NUL character, which PostgreSQL cannot store.")
    return text


def uniq_hash(metadata: Metadata, text: str | None = None) -> str:
    """The 64 hex digits that are equal for equal payloads; `text` is `canonical(metadata)` where it is at hand.

    Raises PayloadError on a float: Rust and Python print floats differently, so their hashes would not agree.
    """
    text = canonical(metadata) if text is None else text
    if _LIKE_A_FLOAT.search(text) and _has_float(metadata):
        raise PayloadError("The payload of a unique job may not hold a float: use an integer or a string.")
    return hashlib.sha256(text.encode()).hexdigest()


def _has_float(value: object) -> bool:
    return _any(value, lambda leaf: isinstance(leaf, float))


def _has_nul(value: object) -> bool:
    return _any(value, lambda leaf: isinstance(leaf, str) and "\0" in leaf)


def _any(value: object, test: Any) -> bool:
    if isinstance(value, Mapping):
        return any(test(key) or _any(item, test) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(_any(item, test) for item in value)
    return bool(test(value))
