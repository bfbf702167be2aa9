"""Hiding secrets that stand in payloads: on pages, in the API and in logs."""

import re
from typing import Any

MASK = "••••••"
DEEPEST = 100

# The word may stand inside a longer name (userPassword, X-Api-Key, db_secret_2), in any case, however joined.
_SECRET = re.compile(
    r"passw(or)?d|passphrase|passcode|secret|token|authori[sz]ation|(api|private|access)[-_ ]?key|credential"
    r"|session[-_ ]?id|cookie|signature|bearer|(^|[-_ ])(pass|auth|pwd|pin|otp|cvv|cvc)([-_ ]|$)",
    re.IGNORECASE,
)
# It begins at "://", not at the scheme: looking for the scheme's start takes quadratic time on a long word.
_IN_URL = re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]*@")


def masked(value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value in which the value of each secret key is a mask, whatever it was."""
    if depth > DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {key: MASK if secret(key) else masked(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, depth + 1) for item in value]
    if isinstance(value, str):
        return _IN_URL.sub(f"{MASK}@", value)
    return value


def secret(key: object) -> bool:
    """Whether what stands under `key` is nobody's to read."""
    return _SECRET.search(str(key)) is not None
