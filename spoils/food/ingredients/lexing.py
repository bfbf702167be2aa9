"""The text of a label, cut at its separators in one pass."""

import re
from collections.abc import Iterator
from typing import Literal

Kind = Literal["text", "open", "close", "comma", "semicolon", "colon", "stop"]

_MARK = re.compile(r"[(\[{（［)\]}）］,;:.،؛、，；：。•·●■◆|]")
_KINDS: dict[str, Kind] = {
    **dict.fromkeys("([{（［", "open"),
    **dict.fromkeys(")]}）］", "close"),
    **dict.fromkeys(",،、，•·●■◆|", "comma"),
    **dict.fromkeys(";؛；", "semicolon"),
    **dict.fromkeys(":：", "colon"),
    **dict.fromkeys(".。", "stop"),
}
# In "12,5 %" and "1,5 g" the comma is a decimal point, in "propane-1,2-diol" a part of the name.
_DECIMALS = re.compile(r"[0-9]{1,3}\s?(?:%|‰|g\b|mg\b|µg\b|ml\b|kg\b)")
_LOCANT = re.compile(r"[0-9]-")
_LAST_WORD = re.compile(r"[^\W\d]+$")
_ABBREVIATIONS = {
    "min", "max", "mind", "ca", "env", "approx", "incl", "inkl", "bzw", "conc", "vit", "evtl", "ggf", "st", "no", "nr",
    "art", "var", "spp", "ssp", "cf", "resp", "beh", "gew", "usw", "etc",
}  # fmt: skip


def tokens(text: str) -> Iterator[tuple[Kind, str]]:
    """Yield ("text", "sugar"), ("comma", ","), … in order."""
    start = 0
    for mark in _MARK.finditer(text):
        kind = _KINDS[mark.group()]
        if (kind == "comma" and _within_a_word(text, mark.start())) or (
            kind == "stop" and not _ends_a_sentence(text, mark.start())
        ):
            continue
        if words := text[start : mark.start()].strip():
            yield "text", words
        yield kind, mark.group()
        start = mark.end()
    if words := text[start:].strip():
        yield "text", words


def _within_a_word(text: str, at: int) -> bool:
    if text[at] != "," or at == 0 or not text[at - 1].isdigit():
        return False
    following = text[at + 1 : at + 8]
    return bool(_DECIMALS.match(following)) or (
        text[at - 2 : at - 1] == "-" and bool(_LOCANT.match(following))
    )


def _ends_a_sentence(text: str, at: int) -> bool:
    if text[at] == "。":
        return True
    following = text[at + 1 : at + 2]
    if following and not following.isspace() and following not in ")]}*":
        # "sel.Peut contenir" ends one; "3.5" and "z.B." do not.
        return following.isupper() and text[max(0, at - 2) : at].isalpha() and at > 1
    last = _LAST_WORD.search(text[max(0, at - 12) : at])
    if last is None:
        return True
    word, next_letter = last.group(), text[at + 2 : at + 3]
    if len(word) == 1:
        # "L. casei" and "z. B." go on; "Acesulfam K. Enthält" does not.
        return word.isupper() and not next_letter.islower()
    return word.casefold() not in _ABBREVIATIONS
