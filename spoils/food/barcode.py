"""Barcodes: what one is, and the one way of writing it."""

import json
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from spoils.job.spellings import Spellings

# ASCII digits only: \d and str.isdigit also take "٣" and "²", which must never reach a URL.
_BARCODE = re.compile(r"[0-9]{8,14}")
_NOT_A_DIGIT = re.compile(r"[^0-9]")


def normalise(code: str) -> str:
    """Write a barcode as Open Food Facts does: without leading zeros, then padded to 8 or 13 digits."""
    bare = code.lstrip("0")
    return bare.zfill(8) if len(bare) <= 8 else bare.zfill(13)


def spellings(code: str) -> set[str]:
    """Every spelling of this barcode with 8 to 14 digits. A payload keeps the one that was sent."""
    if not is_barcode(code):
        return set()
    bare = code.lstrip("0")
    return {bare.zfill(length) for length in range(8, 15)}


def is_barcode(code: object) -> bool:
    """Tell whether this is 8 to 14 ASCII digits and nothing else."""
    return isinstance(code, str) and _BARCODE.fullmatch(code) is not None


def _checked(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("barcode_type", 'A barcode is text in quotes, such as "737628064502".')
    stray = _NOT_A_DIGIT.search(value)
    if stray:
        raise PydanticCustomError(
            "barcode_character",
            "A barcode has digits only. The {place} character is {character}.",
            {"place": _ordinal(stray.start() + 1), "character": _quoted(stray.group())},
        )
    if not is_barcode(value):
        raise PydanticCustomError(
            "barcode_length",
            "A barcode has 8 to 14 digits; this {has}.",
            {"has": f"has {len(value)}" if value else "is empty"},
        )
    return value


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _quoted(character: str) -> str:
    # What cannot be seen (a line break, a lone surrogate) is shown by its escape.
    return json.dumps(character, ensure_ascii=not character.isprintable())


Barcode = Annotated[
    str,
    BeforeValidator(_checked),
    Spellings(spellings),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{8,14}$", "examples": ["737628064502"]}),
]
