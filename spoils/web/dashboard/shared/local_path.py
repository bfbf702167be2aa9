"""Redirect targets that a client names: only addresses of this site. Pure."""

import re
from urllib.parse import quote, urlsplit

# Browsers drop tabs and line breaks from an address and treat "\" as "/": each can hide another host.
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")

LONGEST = 2_000
"""Characters of an address in a header: nginx answers 502 if the head of a response has more than 4 KiB."""


def local_path(given: str | None, otherwise: str) -> str:
    """`given` if it is a path of this site, else `otherwise`."""
    if (
        not given
        or not given.startswith("/")
        or given.startswith("//")
        or _UNSAFE.search(given)
        or len(quote(given, errors="replace")) > LONGEST
    ):
        return otherwise
    try:
        parts = urlsplit(given)
    except ValueError:
        return otherwise
    return given if not parts.scheme and not parts.netloc else otherwise
