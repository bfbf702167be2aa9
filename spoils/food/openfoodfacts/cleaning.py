"""JSON from outside, made fit for PostgreSQL: no NUL, no lone surrogate, no infinity, no abyss."""

import json
import math
import re
from typing import Any

DEEPEST = 64
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def read_json(body: bytes) -> Any:
    """Parse and clean one JSON document; ValueError with a sentence where it cannot be read."""
    try:
        # The bytes decide, never the charset that a header claims.
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as exc:
        raise ValueError("it is not UTF-8 text") from exc
    except RecursionError as exc:
        raise ValueError("it is nested too deep") from exc
    except ValueError as exc:
        raise ValueError("it is not valid JSON") from exc
    return clean(value)


def clean(value: Any, depth: int = 0) -> Any:
    """Return a copy that jsonb and text columns accept; ValueError where it is nested too deep."""
    if depth > DEEPEST:
        raise ValueError("it is nested too deep")
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # 1e999 is valid JSON, Python reads it as infinity, and jsonb refuses that
    return value


def clean_text(text: str) -> str:
    """Replace what PostgreSQL cannot store, so that one bad letter does not lose a product."""
    return _UNSTORABLE.sub("\ufffd", text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
