"""Vegan, vegetarian, palm oil: the data's own verdict, else one rolled up from the ingredients."""

from collections.abc import Iterable, Iterator

from spoils.food.ingredients.model import Ingredient
from spoils.food.ingredients.recognise import base_of

_VERDICTS = {
    "en:vegan": ("vegan", "yes"),
    "en:non-vegan": ("vegan", "no"),
    "en:maybe-vegan": ("vegan", "maybe"),
    "en:vegan-status-unknown": ("vegan", "unknown"),
    "en:vegetarian": ("vegetarian", "yes"),
    "en:non-vegetarian": ("vegetarian", "no"),
    "en:maybe-vegetarian": ("vegetarian", "maybe"),
    "en:vegetarian-status-unknown": ("vegetarian", "unknown"),
    "en:palm-oil": ("palm_oil", "yes"),
    "en:palm-oil-free": ("palm_oil", "no"),
    "en:may-contain-palm-oil": ("palm_oil", "maybe"),
    "en:palm-oil-content-unknown": ("palm_oil", "unknown"),
}
_NOT_VEGAN = {"E120", "E901", "E904", "E966", "E1105"}
_NOT_VEGETARIAN = {"E120"}
_EITHER_WAY = {
    "E153", "E304", "E322", "E422", "E431", "E432", "E433", "E434", "E435", "E436",
    "E442", "E445", "E470a", "E470b", "E471", "E472a", "E472b", "E472c", "E472d", "E472e", "E472f", "E473", "E474", "E475",
    "E476", "E477", "E479b", "E481", "E482", "E483", "E491", "E492", "E493", "E494", "E495", "E570",
    "E626", "E627", "E628", "E629", "E630", "E631", "E632", "E633", "E634", "E635", "E640", "E641", "E920",
    "E160", "E160a", "E161b", "E161g", "E101", "E1518", "E1517",
}  # fmt: skip
_MAYBE_PALM = {code for code in _EITHER_WAY if code.startswith(("E43", "E47", "E48", "E49", "E570", "E304"))}


def declared(tags: Iterable[str]) -> dict[str, str]:
    """The verdicts that the data holds."""
    return dict(_VERDICTS[tag] for tag in tags if tag in _VERDICTS)


def vegan_of_additive(code: str) -> str:
    """Whether an additive is vegan: most are, some are made of either plants or animals."""
    code = base_of(code)
    return "no" if code in _NOT_VEGAN else "maybe" if code in _EITHER_WAY else "yes"


def vegetarian_of_additive(code: str) -> str:
    """Whether an additive is vegetarian."""
    code = base_of(code)
    return "no" if code in _NOT_VEGETARIAN else "maybe" if code in _EITHER_WAY else "yes"


def palm_oil_of_additive(code: str) -> str:
    """Whether an additive is of palm oil: fatty acids may be."""
    return "maybe" if base_of(code) in _MAYBE_PALM else "no"


def rolled_up_diet(answers: Iterable[str | None]) -> str:
    """One "no" decides; short of that, one ingredient that nobody knows leaves it unknown."""
    found = set(answers)
    if "no" in found:
        return "no"
    if not found or None in found:
        return "unknown"
    return "maybe" if "maybe" in found else "yes"


def rolled_up_palm_oil(ingredients: Iterable[Ingredient]) -> str:
    """One ingredient of palm oil decides; one that nobody knows leaves it unknown."""
    found = {item.palm_oil or ("no" if item.known_as else None) for item in ingredients}
    if "yes" in found:
        return "yes"
    if not found or None in found:
        return "unknown"
    return "maybe" if "maybe" in found else "no"


def telling(ingredients: Iterable[Ingredient]) -> Iterator[Ingredient]:
    """Those that decide: not a group whose parts are told, nor a function that only introduces them."""
    for item in ingredients:
        if item.children and (item.vegan is None or item.function):
            yield from telling(item.children)
        else:
            yield item
            yield from telling(item.children)
