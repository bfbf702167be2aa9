"""From a name on a label to what it is: an additive, an ingredient of the vocabulary, or neither."""

import re

from spoils.food.ingredients.additive_names import NAMES
from spoils.food.ingredients.additives import ADDITIVES
from spoils.food.ingredients.vocabulary import look_up
from spoils.food.ingredients.words import fold

_NUMBER = r"([0-9]{3,4})[ ]?([a-h](?![a-z]))?[ ]?(iii|ii|iv|vi|v|i)?(?![a-z0-9])"
_E_NUMBER = re.compile(rf"(?<![a-z0-9])(?:e|ins|sin)[ .]?{_NUMBER}")
_BARE_NUMBER = re.compile(_NUMBER)


def additive_code(name: str, *, under_function: bool = False) -> str | None:
    """The E-number of this name; under `Acidity Regulator (338)` a bare number is one too."""
    plain = fold(name)
    if found := _E_NUMBER.search(plain):
        return _code(found)
    if plain in NAMES:
        return NAMES[plain]
    if under_function and (found := _BARE_NUMBER.fullmatch(plain)):
        return _code(found)
    return None


def is_only_a_code(name: str) -> bool:
    """Tell whether this is an E-number with nothing around it."""
    found = _E_NUMBER.fullmatch(fold(name))
    return found is not None and _code(found) is not None


def is_additive_name(name: str) -> bool:
    """Tell whether this is an additive's name in full, such as `colouring caramel`."""
    return fold(name) in NAMES


def code_of_tag(tag: str) -> str | None:
    """The E-number of a tag of the taxonomy: `en:e150d` is E150d."""
    found = _E_NUMBER.fullmatch(tag.partition(":")[2] or tag)
    return _code(found) if found else None


def additive_entry(code: str) -> tuple[str, str | None]:
    """The name and the usual function of an E-number; its group's where it has none of its own."""
    group = base_of(code)
    return ADDITIVES.get(code) or ADDITIVES.get(group) or (code, None)


def base_of(code: str) -> str:
    """The entry of the table for an E-number: E322i is told under E322."""
    bare = code.rstrip("iv")
    return next((known for known in (code, bare, bare.rstrip("abcdefgh")) if known in ADDITIVES), code)


def recognised(name: str) -> bool:
    """Tell whether a name is one that we know."""
    return additive_code(name) is not None or look_up(name) is not None


def _code(found: "re.Match[str]") -> str | None:
    number, letter, roman = found.groups()
    code = f"E{number}{letter or ''}{roman or ''}"
    return code if base_of(code) in ADDITIVES else None
