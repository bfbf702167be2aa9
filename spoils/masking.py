"""Hiding secrets that stand in payloads and in texts: on pages, in the API and in alerts. Pure."""

import re
from functools import lru_cache
from typing import Any

MASK = "••••••"
DEEPEST = 100
_REMEMBERED_LENGTH = 64
"""A client may send a thousand keys of 60 KB: they are not kept."""

# The word may stand inside a longer name (userPassword, X-Api-Key, db_secret_2), in any case, however joined.
_SECRET = re.compile(
    r"passw(or)?d|passphrase|passcode|secret|token|authori[sz]ation|(api|private|access)[-_ ]?key|credential"
    r"|session[-_ ]?id|cookie|signature|bearer|(^|[-_ ])(pass|auth|pwd|pin|otp|cvv|cvc)([-_ ]|$)",
    re.IGNORECASE,
)
# It begins at "://", not at the scheme: looking for the scheme's start takes quadratic time on a long word.
# Within another address it is written with percent signs.
_IN_URL = re.compile(
    r"(?<=://)[^\s/@:]*:[^\s/@]*@|(?<=%3A%2F%2F)[^\s/@:%]*%3A[^\s/@:]{0,400}?%40", re.IGNORECASE
)
# In a sentence or a traceback: a word of a secret, "=" or ":", and what follows it, with its quotes where it has some.
_IN_TEXT = re.compile(
    r"(?P<name>(?:passw(?:or)?d|passphrase|passcode|secret|token|(?:api|private|access)[-_]?key|credentials?"
    r"|session[-_]?id|cookie|signature|pwd)[A-Za-z0-9_-]{0,40}[\"']?[ \t]{0,3}(?:=>?|:)[ \t]{0,3}[bur]?)"
    r"(?P<value>\"(?:[^\"\\\n]|\\.){0,4000}\"?|'(?:[^'\\\n]|\\.){0,4000}'?|[^\s\"'&,;)\]}]+)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(?P<scheme>Bearer|Basic)[ \t]+[A-Za-z0-9._~+/=-]{12,}", re.IGNORECASE)
_AUTHORIZATION = re.compile(
    r"(?P<name>authorization[\"']?[ \t]{0,3}[=:][ \t]{0,3})(?P<value>[^\r\n,}\])]+)", re.IGNORECASE
)
# What one of the four needs.
_SIGNS = (
    "://", "%3a%2f", "authorization", "bearer", "basic", "pass", "secret", "token", "key", "credential", "session",
    "cookie", "signature", "pwd",
)  # fmt: skip


def masked(value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value in which the value of each secret key is a mask, whatever it was."""
    if depth > DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {key: MASK if secret(key) else masked(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, depth + 1) for item in value]
    if isinstance(value, str):
        return _IN_URL.sub(f"{MASK}@", value) if "://" in value or "%" in value else value
    return value


def secret(key: object) -> bool:
    """Whether what stands under `key` is nobody's to read."""
    text = str(key)
    return _is_secret(text) if len(text) <= _REMEMBERED_LENGTH else _is_secret.__wrapped__(text)


# Nearly all are the fields of a few classes.
@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    return _SECRET.search(key) is not None


def masked_text(text: str) -> str:
    """A text, such as an error's or a traceback, without the values of what it calls a password, token or the like."""
    if text.isascii() and not _has_a_sign(text.lower()):
        return text  # as nearly every line of a log is, and a request writes two
    text = _IN_URL.sub(f"{MASK}@", text)
    text = _AUTHORIZATION.sub(rf"\g<name>{MASK}", text)
    text = _SCHEME.sub(rf"\g<scheme> {MASK}", text)
    return _IN_TEXT.sub(rf"\g<name>{MASK}", text)


def _has_a_sign(lowered: str) -> bool:
    for sign in _SIGNS:  # noqa: SIM110 - a generator would be gone into for each of them
        if sign in lowered:
            return True
    return False
