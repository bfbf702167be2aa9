"""Addresses to go on to that a client names: only ones of this site. Pure."""

import re
from urllib.parse import quote, urlsplit

# A browser drops tabs and line breaks from an address and takes "\" for "/": each can hide another host.
_ODD = re.compile(r"[\x00-\x20\x7f\\]")

LONGEST = 2_000
"""Characters of an address in a header: nginx answers with 502 where the head of an answer has more than 4 KiB."""


def local_path(given: str | None, otherwise: str) -> str:
    """`given` where it is a path of this site, else `otherwise`."""
    if (
        not given
        or not given.startswith("/")
        or given.startswith("//")
        or _ODD.search(given)
        or len(quote(given, errors="replace")) > LONGEST
    ):
        return otherwise
    try:
        parts = urlsplit(given)
    except ValueError:
        return otherwise
    return given if not parts.scheme and not parts.netloc else otherwise
