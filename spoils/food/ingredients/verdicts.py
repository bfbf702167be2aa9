"""Vegan, vegetarian, palm oil: the data's own verdict, else one rolled up from the ingredients."""

from collections.abc import Iterable, Iterator

from spoils.food.ingredients.model import Ingredient
from spoils.food.ingredients.recognise import base_of
from spoils.food.ingredients.vocabulary import ADDITIVE_ANSWERS, Known

MATTERS = ("vegan", "vegetarian", "palm_oil")
_DECISIVE = {"vegan": "no", "vegetarian": "no", "palm_oil": "yes"}
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


def declared(tags: Iterable[str]) -> dict[str, str]:
    """The verdicts that the data holds."""
    return dict(_VERDICTS[tag] for tag in tags if tag in _VERDICTS)


def of_additive(code: str) -> Known:
    """What is known of an additive: most are vegan, some are made of either plants or animals."""
    base = base_of(code)
    either_way = "maybe" if base in ADDITIVE_ANSWERS["plant_or_animal"] else "yes"
    return Known(
        id=f"en:{code.lower()}",
        vegan="no" if base in ADDITIVE_ANSWERS["not_vegan"] else either_way,
        vegetarian="no" if base in ADDITIVE_ANSWERS["not_vegetarian"] else either_way,
        palm_oil="maybe" if base in ADDITIVE_ANSWERS["perhaps_palm_oil"] else "no",
    )


def rolled_up(ingredients: Iterable[Ingredient], matter: str) -> str:
    """One "no" (of palm oil one "yes") decides; short of that, one ingredient that nobody knows leaves it unknown."""
    found = {answer for _, answer in deciding(ingredients, matter)}
    if _DECISIVE[matter] in found:
        return _DECISIVE[matter]
    if not found or None in found:
        return "unknown"
    if "maybe" in found:
        return "maybe"
    return "no" if matter == "palm_oil" else "yes"


def deciding(ingredients: Iterable[Ingredient], matter: str) -> Iterator[tuple[Ingredient, str | None]]:
    """The ingredients that decide, with their answers: of a group that leaves it open, its parts."""
    for item in ingredients:
        answer = getattr(item, matter)
        if matter == "palm_oil" and answer is None and item.known_as:
            answer = "no"
        # Oils decide for `vegetable oils`; `flavourings, including caffeine` stay as open as they are.
        # `apricots (sulphites)` are not known by their one part.
        left_to_parts = (
            item.function
            or (answer is None and (item.known_as or len(item.children) > 1))
            or (answer == "maybe" and matter == "palm_oil")
        )
        if not (item.children and left_to_parts):
            yield item, answer
        yield from deciding(item.children, matter)
