"""Hiding secrets that stand in payloads: on pages, in the API and in logs."""

import re
from typing import Any

MASK = "••••••"

_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|^pwd$|secret|token|authorization|api_?key|apikey|private_?key|credential|cookie|session_?id",
    re.IGNORECASE,
)


def masked(value: Any) -> Any:
    """A copy of a JSON value in which whatever stands under a key that names a secret is a row of dots."""
    if isinstance(value, dict):
        return {key: MASK if _names_secret(key) else masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def _names_secret(key: object) -> bool:
    return bool(_SECRET.search(str(key).replace("-", "_")))
