"""The many ways in which labels part their ingredients, made one: a comma."""

import re

_ROMAN_IN_BRACKETS = re.compile(r"\b((?:E[\s-]?)?[0-9]{3,4}[a-h]?)\s?\((i{1,3}|iv|vi?)\)", re.IGNORECASE)
_PER_100_G = re.compile(
    r"\b([0-9]{1,3}(?:[.,][0-9]{1,4})?)\s?g\s?(?:/|per|pour|pro|je|por|per)\s?100\s?g\b", re.IGNORECASE
)
_CODE = r"E[\s-]?[0-9]{3,4}[a-h]?(?:iii|ii|iv|vi|v|i)?"
_CODES_IN_A_ROW = re.compile(rf"\b({_CODE})\s?[-/+\s]\s?(?={_CODE}\b)", re.IGNORECASE)
# "colorants E (124,122,133)"
_E_BEFORE_NUMBERS = re.compile(r"\bE\s?\(\s?((?:[0-9]{3,4}[a-h]?\s?[,;/]?\s?){1,20})\)")
_NUMBER = re.compile(r"[0-9]{3,4}[a-h]?")
_DASH = re.compile(r"\s[-–—/]\s")
_COMMA = re.compile(r"[,;](?![0-9])")


def separated(text: str) -> str:
    """The text with commas where a label has dashes, pluses, bullets or nothing between its ingredients."""
    text = _PER_100_G.sub(r"\1%", _ROMAN_IN_BRACKETS.sub(r"\1\2", text))
    text = _E_BEFORE_NUMBERS.sub(
        lambda found: ", ".join(f"E{one}" for one in _NUMBER.findall(found[1])), text
    )
    text = _CODES_IN_A_ROW.sub(r"\1, ", text).replace(" + ", ", ")
    dashes = len(_DASH.findall(text))
    return _DASH.sub(", ", text) if dashes > 1 and dashes > len(_COMMA.findall(text)) else text
