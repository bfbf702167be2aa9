"""Cursors of lists in URLs: opaque texts of a moment and a key."""

import base64
import binascii
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from spoils.web import datetimes

Key = TypeVar("Key", UUID, int)
LONGEST = 200
LARGEST = 2**31


class BadCursor(ValueError):
    """The text is not a cursor that `encode` made."""


def encode(moment: datetime, key: UUID | int) -> str:
    """The cursor of a row with that moment and key."""
    return base64.urlsafe_b64encode(f"{moment.isoformat()}|{key}".encode()).decode().rstrip("=")


def decode(text: str, key: type[Key]) -> tuple[datetime, Key]:
    """The moment and key of `text`. Raises BadCursor."""
    if len(text) > LONGEST:
        raise BadCursor()
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        plain = base64.b64decode(padded, altchars=b"-_", validate=True)
        moment_text, _, key_text = plain.decode("ascii").partition("|")
        moment, found = datetimes.utc(moment_text), key(key_text)
    except (ValueError, binascii.Error) as exc:
        raise BadCursor() from exc
    if key is int and not 0 < int(found) < LARGEST:
        raise BadCursor()
    return moment, found
