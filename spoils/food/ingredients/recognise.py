"""From a name on a label to what it is: an additive, an ingredient of the vocabulary, or neither."""

import re

from spoils.food.ingredients.normalise import fold
from spoils.food.ingredients.vocabulary import ADDITIVE_NAMES, ADDITIVES, ONLY_WITH_FUNCTION, look_up

_NUMBER = r"([0-9]{3,4})[ ]?([a-h](?![a-z]))?[ ]?(iii|ii|iv|vi|v|i)?(?![a-z0-9])"
_E_NUMBER = re.compile(rf"(?<![a-z0-9])(?:e|ins|sin)[ .]?{_NUMBER}")
_BARE_NUMBER = re.compile(_NUMBER)
_CARAMEL = {"colour": "E150"}


def additive_code(name: str, *, under: str | None = None) -> str | None:
    """The E-number of this name, where the label gives `under` as its function, if any.

    Under `Acidity Regulator (338)` a bare number is one too. Vitamins, minerals and caramel are additives only there.
    """
    plain = fold(name)
    if found := _E_NUMBER.search(plain):
        return _code(found)
    if code := ADDITIVE_NAMES.get(plain):
        needs_function = code in ONLY_WITH_FUNCTION or plain.startswith("vitamin")
        return code if under or not needs_function else None
    if under and (found := _BARE_NUMBER.fullmatch(plain)):
        return _code(found)
    known = look_up(name) if under in _CARAMEL else None
    return _CARAMEL[under] if under and known and known.id == "en:caramel" else None


def is_only_a_code(name: str) -> bool:
    """Whether this is an E-number with nothing around it."""
    found = _E_NUMBER.fullmatch(fold(name))
    return found is not None and _code(found) is not None


def is_additive_name(name: str) -> bool:
    """Whether this is an additive's name in full, such as `colouring caramel`."""
    return fold(name) in ADDITIVE_NAMES


def code_of_tag(tag: str) -> str | None:
    """The E-number of a tag of the taxonomy: `en:e150d` is E150d."""
    found = _E_NUMBER.fullmatch(tag.partition(":")[2] or tag)
    return _code(found) if found else None


def additive_entry(code: str) -> tuple[str, str | None]:
    """The name and the usual function of an E-number; its group's where it has none of its own."""
    name, function = ADDITIVES.get(base_of(code), (code, None))
    return name, function


def base_of(code: str) -> str:
    """The entry of the table for an E-number: E322i is listed under E322."""
    bare = code.rstrip("iv")
    return next((known for known in (code, bare, bare.rstrip("abcdefgh")) if known in ADDITIVES), code)


def recognised(name: str) -> bool:
    """Whether a name is one that we know."""
    return additive_code(name) is not None or look_up(name) is not None


def _code(found: "re.Match[str]") -> str | None:
    number, letter, roman = found.groups()
    code = f"E{number}{letter or ''}{roman or ''}"
    return code if base_of(code) in ADDITIVES else None
