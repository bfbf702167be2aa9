"""Words made comparable: without case, accents, hyphens and the marks that labels put around them."""

import html
import re
import unicodedata

# Letters that Unicode does not decompose, though readers of labels do. The last is the Cyrillic Е of "Е330".
_SPELT_OUT = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "ı": "i", "’": "'", "ʼ": "'"})
_NOT_A_WORD = re.compile(r"[^\w'%]+|_")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,100}>")
_LONG_REFERENCE = re.compile(r"&#[0-9]{8,}")
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_CYRILLIC_E = re.compile(r"\b[Ее](?=[\s\-]?\d{3})")


MOST_MARKS = 8
"""Combining marks on one letter; no language that we read has more than two."""


def fold(text: str) -> str:
    """Write a name as it is compared: `Säure-Regulator ` becomes `saure regulator`."""
    lowered = few_marks(text).casefold().translate(_SPELT_OUT)
    if not lowered.isascii():
        lowered = "".join(c for c in unicodedata.normalize("NFKD", lowered) if not unicodedata.combining(c))
    return _NOT_A_WORD.sub(" ", lowered).strip()


def clean(text: str) -> str:
    """Take away entities, markup, underscores around allergens and what cannot be seen."""
    text = _TAG.sub(" ", unescape(unescape(text)))
    text = _INVISIBLE.sub(
        "", unicodedata.normalize("NFC", few_marks(text).replace("\n", " ").replace("\r", " "))
    )
    # `_Weizen_mehl` marks an allergen within a word.
    return " ".join(_CYRILLIC_E.sub("E", text.replace("_", "")).split())


def few_marks(text: str) -> str:
    """Drop the marks of a letter after the first `MOST_MARKS`.

    To normalise a run of marks takes time in the square of its length, in one call that holds the interpreter.
    """
    if text.isascii():
        return text
    kept, run = [], 0
    for letter in text:
        run = run + 1 if unicodedata.combining(letter) else 0
        if run <= MOST_MARKS:
            kept.append(letter)
    return "".join(kept)


def unescape(text: str) -> str:
    """Resolve HTML entities; html.unescape alone raises on a number of more than 4,300 digits."""
    return html.unescape(_LONG_REFERENCE.sub("", text))
