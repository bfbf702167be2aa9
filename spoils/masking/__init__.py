"""Masking secrets in payloads and in texts: on pages, in the API, in logs, in alerts and in stored errors. Pure.

One list of names (`names`) says what is a secret. It is applied to the keys of a payload, and to the names in a text
that stand before a value (`texts`): `password=…`, `"api_key": "…"`, `--token …`, `?access_token=…`, `Authorization: …`.
What is a secret by its own form (`forms`), such as a private key or a token of a known service, is masked everywhere.
"""

import json
import re
from functools import lru_cache
from itertools import islice
from typing import Any

from spoils.masking.names import UNSEEN, plain, secret
from spoils.masking.texts import MASK, arguments_without_secrets, without_secrets

__all__ = ["MASK", "masked", "masked_text", "secret"]

DEEPEST = 100
# A name, or a path to one: `/user/password`, `$.password`.
_NAME = re.compile(rf"[$/]?[A-Za-z_-][A-Za-z0-9_./${UNSEEN}-]{{0,99}}")
_BEGINS_JSON = re.compile(r"\{\s*+\"|\[\s*+[\"{\[]")
MOST_JSON = 20
_decoder = json.JSONDecoder()
_UNJOINED = re.compile(r"[^a-z]")
# In a list of named values, `{"name": "DB_PASSWORD", "value": "…"}`.
_NAMING = """
    name key header field id k n parameter param variable var label title env attribute attr property column option
    setting headername fieldname paramname
"""
_NAMED = """
    value values val v data content text default string stringvalue input old new from to before after oldvalue newvalue
    current previous
"""
_NAMES, _VALUES = frozenset(_NAMING.split()), frozenset(_NAMED.split())
# A command whose arguments stand apart, `{"command": "mysql", "args": ["-p…"]}`: the program says which is a password.
_PROGRAMS = frozenset(("command", "cmd", "program", "executable", "entrypoint", "exec", "binary"))
_ARGUMENTS = frozenset(("args", "argv", "arguments", "parameters", "params", "options", "flags"))


def masked(value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value in which the value of each secret name is a mask, whatever it was.

    A name may be a key (`{"pin": 1}`), the first of two (`["pin", 1]`), beside its value
    (`{"name": "pin", "value": 1}`), or part of a text (`"pin=1"`). A list with options is the arguments of a command.

        >>> masked({"user": 7, "dbPass": "x", "env": ["TOKEN=x"]})
        {'user': 7, 'dbPass': '••••••', 'env': ['TOKEN=••••••']}
    """
    if depth > DEEPEST:
        return "…"
    if isinstance(value, dict):
        hidden = _named_in(value)
        program = _program_in(value)
        return {
            masked_text(key) if isinstance(key, str) else key: MASK
            if secret(key) or (hidden and _joined(key) in _VALUES)
            else masked([*program, *item], depth + 1)[len(program) :]
            if program and isinstance(item, list | tuple) and _joined(key) in _ARGUMENTS
            else masked(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        # A pair, or an option and its argument: `["--token", "…"]`.
        items = [
            MASK
            if _is_name(before) and (len(value) == 2 or before.startswith("-"))
            else masked(item, depth + 1)
            for before, item in zip(["", *value], value, strict=False)
        ]
        if any(isinstance(item, str) and item.startswith("-") for item in value):
            return arguments_without_secrets([_masked_option(item) for item in items])
        return items
    return _masked_text(value, depth) if isinstance(value, str) else value


def _masked_option(item: Any) -> Any:
    """An argument of a command; of `--password=…` all that follows is the secret, blanks too."""
    name, sign, _ = item.partition("=") if isinstance(item, str) and item.startswith("-") else ("", "", "")
    return f"{name}={MASK}" if sign and _is_name(name) else item


def masked_text(text: str) -> str:
    """A text, such as an error's, a traceback, a URL or a header, without the values that it names as secrets.

    >>> masked_text("connect failed: password=hunter2 host=db")
    'connect failed: password=•••••• host=db'
    """
    return _masked_text(text, 0)


def _masked_text(text: str, depth: int) -> str:
    if text[:1] in ("{", "[", '"') and (written := _masked_json(text, depth)) is not None:
        return written
    return without_secrets(_with_json_masked(text, depth) if "{" in text or "[" in text else text)


def _masked_json(text: str, depth: int) -> str | None:
    """The text of JSON with its secrets masked; None where it is no JSON."""
    try:
        value = json.loads(text)
        shown = masked(value, depth + 1)
        # Its parts are not looked at again: JSON may stand in a string of JSON, and so on, and each would double that.
        return without_secrets(text) if shown == value else json.dumps(shown, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _with_json_masked(text: str, depth: int) -> str:
    """The text with the secrets masked in what is JSON of it; a few beginnings are tried."""
    parts: list[str] = []
    done = seen = 0
    for found in islice(_BEGINS_JSON.finditer(text), MOST_JSON):
        if found.start() < seen:
            continue  # part of a value that was looked at
        try:
            value, end = _decoder.raw_decode(text, found.start())
            shown = masked(value, depth + 1)
        except (ValueError, RecursionError):
            continue
        seen = end
        if shown != value:
            parts += [text[done : found.start()], json.dumps(shown, ensure_ascii=False)]
            done = end
    return "".join([*parts, text[done:]])


def _named_in(value: dict[Any, Any]) -> bool:
    """Whether a dict names what its value is, and that is a secret."""
    for key, item in value.items():
        name = _joined(key)
        # A change as of RFC 6902 names its value by a path, and an error of pydantic's by a list.
        if (name in _NAMES or (name == "path" and "op" in value)) and _is_name(item):
            return True
        if name == "loc" and isinstance(item, list | tuple) and any(_is_name(part) for part in item[-1:]):
            return True
    return False


def _program_in(value: dict[Any, Any]) -> list[Any]:
    """The words of the program that a dict names for its arguments; none where it names none."""
    for key, item in value.items():
        if _joined(key) in _PROGRAMS and item and isinstance(item, str | list | tuple):
            return [item] if isinstance(item, str) else list(item)
    return []


def _joined(key: object) -> str:
    return _letters(str(key)[:40])


@lru_cache(maxsize=1024)
def _letters(name: str) -> str:
    return _UNJOINED.sub("", name.lower())


def _is_name(value: object) -> bool:
    """Whether a value is itself the name of a secret, and no sentence about one."""
    return isinstance(value, str) and _NAME.fullmatch(plain(value)) is not None and secret(value)
