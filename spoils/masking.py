"""Masking secrets in payloads and in texts: on pages, in the API, in logs, in alerts and in stored errors. Pure.

One list of names says what is a secret. It is applied to the keys of a payload, and to the names in a text that stand
before a value: `password=…`, `"api_key": "…"`, `--token …`, `?access_token=…`, `Authorization: …`.
"""

import re
from functools import lru_cache
from typing import Any

MASK = "••••••"
DEEPEST = 100
LONGEST_NAME = 100
"""Only so much of a name is read: a client may send a thousand keys of 60 KB."""

# Of a name's parts in small letters, joined by "_": user_pwd, db_pass, signing_key, x_api_key. Short words count as a
# part of their own, since "compass" and "spin" are no secrets.
_SECRET = re.compile(
    r"passw(or)?d|passphrase|passcode|secret|token|authori[sz]ation|credential|cookie|signature|bearer|session_?id"
    r"|(^|_)(pass|pw|pwd|psw|auth|pin|otp|totp|cvv|cvc|dsn|jwt|psk|sig|pat"
    r"|(api|private|access|encryption|signing|decryption|master|account|shared|ssh|hmac|crypto|storage|service|license"
    r"|webhook|consumer|auth|root|admin|server)_?keys?"
    r"|(db|user|usr|my|smtp|imap|pop|mail|ftp|ssh|http|proxy|admin|root|redis|pg|mysql|sql|ldap|key|store)"
    r"(pass|pwd|auth))(_|$)"
)
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NAME = re.compile(r"[A-Za-z_-][A-Za-z0-9_.-]{0,99}")

# A name and the sign between it and its value. The lookbehind lets a search begin once for each word, and not again at
# each of its letters, so that a long text takes linear time.
_NAMED = re.compile(
    r"(?:(?<![A-Za-z0-9_.-])|(?<=%[0-9A-Fa-f]{2}))(?P<name>[A-Za-z_-][A-Za-z0-9_.-]{0,99}(?: (?:key|code|id))?)"
    r"\\{0,8}[\"'\])]{0,2}"
    r"(?:[ \t]{0,3}(?:=>?|:=?|%3[AD])[ \t]{0,3}|[ \t]{0,3},[ \t]{0,3}(?=\\{0,8}[\"'])|(?P<gap>[ \t]{1,3}))"
)
# As one of these a name has a value of several parts, up to the end of the line.
_HEADER = re.compile(r"authori[sz]ation|cookie", re.IGNORECASE)
_SCHEME = re.compile(r"\b(?P<scheme>Bearer|Basic|Digest|ApiKey)[ \t]+[A-Za-z0-9._~+/=-]{12,}", re.IGNORECASE)
_PREFIX = re.compile(r"[bBuUrRfF]{0,2}")
_QUOTE = re.compile(r"(?P<escape>\\{0,8})(?P<mark>[\"'])")
_CLOSERS = {"[": "]", "{": "}", "(": ")"}
# What ends a value without quotes. A comma or a bracket at its end is the sentence's.
_BARE = re.compile(r"[^\s\"'&;<>]+?(?=[\\)\]},.]{0,5}(?:[\s\"'&;<>]|$))")
_LINE = re.compile(r"[^\r\n]+?(?=[\"']?[\])}]{0,5}(?:[\r\n]|$))")
# A URL's user and password. It begins at "://", not at the scheme, since looking for the scheme's start takes quadratic
# time on a long word. A password may hold "/" and "@" though it should not; then the last "@" ends it.
_USER_OF_URL = re.compile(
    r"(?<=://)(?:[^\s/@:\"'<>?#]{0,400}:(?!\d{1,5}(?:[/?#]|$))[^\s\"'<>]{0,400}@|[^\s/@\"'<>?#]{1,800}@[^\s/\"'<>?#]{0,400}@"
    r"|[^\s/@\"'<>?#]{1,800}@)"
    r"|(?<=%3A%2F%2F)[^\s/@:%]*%3A[^\s/@:]{0,400}?%40",
    re.IGNORECASE,
)
# Without one of these no pattern finds anything.
_SIGNS = (
    "://", "%3a%2f", "auth", "bearer", "basic", "digest", "pass", "secret", "token", "key", "credential", "session",
    "cookie", "signature", "pw", "psw", "pin", "otp", "cv", "dsn", "jwt", "psk", "sig", "pat",
)  # fmt: skip
# In a list of named values, `{"name": "DB_PASSWORD", "value": "…"}`.
_NAMES = (
    "name",
    "key",
    "header",
    "field",
    "id",
    "k",
    "n",
    "parameter",
    "param",
    "variable",
    "label",
    "title",
    "env",
)
_VALUES = ("value", "values", "val", "v", "data", "content", "text", "default")


def masked(value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value in which the value of each secret name is a mask, whatever it was.

    A name may be a key (`{"pin": 1}`), the first of two (`["pin", 1]`), beside its value
    (`{"name": "pin", "value": 1}`), or part of a text (`"pin=1"`).

        >>> masked({"user": 7, "dbPass": "x", "env": ["TOKEN=x"]})
        {'user': 7, 'dbPass': '••••••', 'env': ['TOKEN=••••••']}
    """
    if depth > DEEPEST:
        return "…"
    if isinstance(value, dict):
        hidden = _named_in(value)
        return {
            masked_text(key) if isinstance(key, str) else key: MASK
            if secret(key) or (hidden and str(key).lower() in _VALUES)
            else masked(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        # A pair, or an option and its argument: `["--token", "…"]`.
        return [
            MASK
            if _is_name(before) and (len(value) == 2 or before.startswith("-"))
            else masked(item, depth + 1)
            for before, item in zip(["", *value], value, strict=False)
        ]
    return masked_text(value) if isinstance(value, str) else value


def secret(key: object) -> bool:
    """Whether the value under this name is a secret.

    >>> secret("smtpPass"), secret("compass")
    (True, False)
    """
    return _is_secret(str(key)[-LONGEST_NAME:])


# Nearly all are the fields of a few classes.
@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET.search("_".join(_SPLIT.findall(name)).lower()) is not None


def masked_text(text: str) -> str:
    """A text, such as an error's, a traceback, a URL or a header, without the values that it names as secrets.

    >>> masked_text("connect failed: password=hunter2 host=db")
    'connect failed: password=•••••• host=db'
    """
    if text.isascii() and not _has_a_sign(text.lower()):
        return text  # as nearly every line of a log is
    text = _USER_OF_URL.sub(f"{MASK}@", text)
    text = _without_named_values(text)
    return _SCHEME.sub(rf"\g<scheme> {MASK}", text)


def _has_a_sign(lowered: str) -> bool:
    for sign in _SIGNS:  # noqa: SIM110 - a generator would be gone into for each of them
        if sign in lowered:
            return True
    return False


def _named_in(value: dict[Any, Any]) -> bool:
    """Whether a dict names what its value is, and that is a secret."""
    return any(str(key).lower() in _NAMES and _is_name(item) for key, item in value.items())


def _is_name(value: object) -> bool:
    """Whether a value is itself the name of a secret, and no sentence about one."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None and secret(value)


def _without_named_values(text: str) -> str:
    parts: list[str] = []
    done = 0
    for found in _NAMED.finditer(text):
        # Part of a value that is masked already.
        if found.start() < done or not secret(found["name"]):
            continue
        # Of a name with only a space behind it, `--password x` is one, and a sentence is none.
        if found["gap"] and not found["name"].startswith("-"):
            continue
        end = _end_of_value(text, found.end(), header=bool(_HEADER.search(found["name"])))
        if end > found.end():
            parts += [text[done : found.end()], MASK]
            done = end
    return "".join([*parts, text[done:]])


def _end_of_value(text: str, start: int, *, header: bool) -> int:
    """Where the value that begins at `start` ends."""
    at = _end_of(_PREFIX, text, start)
    if quoted := _QUOTE.match(text, at):
        return _end_of_quoted(text, quoted)
    if text[start : start + 1] in _CLOSERS and not header:
        return _end_of_brackets(text, start)
    return _end_of(_LINE if header else _BARE, text, start)


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start


def _end_of_quoted(text: str, opened: re.Match[str]) -> int:
    """After the closing quote, which is escaped as often as the opening one; the end where there is none."""
    closing = re.compile(
        rf"(?<!\\){re.escape(opened[0])}" if opened["escape"] else rf"\\.|{opened['mark']}", re.DOTALL
    )
    for found in closing.finditer(text, opened.end()):
        if found[0] == opened[0]:
            return found.end()
    return len(text)


def _end_of_brackets(text: str, start: int) -> int:
    """After the bracket that closes the one at `start`, quotes aside.

    At the end of the line where none does: a traceback shows the first line of a statement alone.
    """
    open_ones: list[str] = []
    at = start
    while at < len(text):
        if quoted := _QUOTE.match(text, at):
            at = _end_of_quoted(text, quoted)
            continue
        if text[at] in _CLOSERS:
            open_ones.append(_CLOSERS[text[at]])
        elif open_ones and text[at] == open_ones[-1]:
            open_ones.pop()
            if not open_ones:
                return at + 1
        at += 1
    return _end_of(_LINE, text, start)
