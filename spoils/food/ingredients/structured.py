"""Ingredients from the list that Open Food Facts parsed."""

import re
from collections.abc import Mapping
from typing import Any

from spoils.food.ingredients.functions import function_of, split_function
from spoils.food.ingredients.model import Ingredient
from spoils.food.ingredients.normalise import clean
from spoils.food.ingredients.recognise import additive_code, additive_entry, code_of_tag, is_additive_name
from spoils.food.ingredients.text import MAX_NAME, named_allergens

MAX_DEPTH = 8
MAX_INGREDIENTS = 600
MAX_FLAT = 200
_TAG = re.compile(r"[a-z]{2,3}:\S")
_ANSWERS = ("yes", "no", "maybe")
Item = Mapping[str, Any]


def read_list(value: Any) -> tuple[Ingredient, ...]:
    """Read a product's `ingredients`; what is no list or holds no name gives nothing."""
    budget = [MAX_INGREDIENTS]
    return tuple(_read(_nested(_items(value)), None, 1, budget))


def _read(items: list[Item], under: str | None, depth: int, budget: list[int]) -> list[Ingredient]:
    result = []
    for item in items:
        name = _name(item)
        if not name or budget[0] <= 0:
            continue
        budget[0] -= 1
        known_as = _known_as(item)
        own_function = function_of(name) or _function_of_id(known_as)
        code, does = _additive(name, known_as, under)
        children = _nested(_items(item.get("ingredients"))) if depth < MAX_DEPTH else []
        share, estimate = _share(item)
        words = (known_as or "").partition(":")[2].replace("-", " ")
        result.append(
            Ingredient(
                name=name,
                known_as=known_as or (f"en:{code.lower()}" if code else None),
                share=share,
                share_is_estimate=estimate,
                vegan=_answer(item.get("vegan")),
                vegetarian=_answer(item.get("vegetarian")),
                palm_oil=_answer(item.get("from_palm_oil")),
                additive=code,
                function=own_function or does,
                processing=_tag_words(item.get("processing")),
                # The id is English, and so tells the allergen of a name in any language.
                allergens=named_allergens(f"{name} {words}"),
                children=tuple(_read(children, own_function, depth + 1, budget)),
            )
        )
    return result


def _additive(name: str, known_as: str | None, under: str | None) -> tuple[str | None, str | None]:
    """The E-number and what it does here, told by the id, the name or, of `corante E150d`, the rest of it."""
    code = code_of_tag(known_as) if known_as else None
    split = None if (known_as and not code) or is_additive_name(name) else split_function(name)
    if split and (split_code := code or additive_code(split[1], under=function_of(split[0]))):
        return split_code, function_of(split[0])
    code = code or additive_code(name, under=under)
    return code, (under or additive_entry(code)[1]) if code else None


def _items(value: Any) -> list[Item]:
    return (
        [item for item in value[:MAX_INGREDIENTS] if isinstance(item, Mapping)]
        if isinstance(value, list)
        else []
    )


def _nested(items: list[Item]) -> list[Item]:
    """Put the children back under their parents, where the list was stored flat.

    Open Food Facts also stores a list with all the children behind all the parents, level by level, and
    `has_sub_ingredients` on the parents. A parent's share is the sum of its children's: that, and
    their order, tells whose they are. A list that this does not explain stays as it is.
    """
    parents = [at for at, item in enumerate(items) if item.get("has_sub_ingredients") == "yes"]
    if not parents or len(items) > MAX_FLAT or any(item.get("ingredients") for item in items):
        return items
    # The parents' children end the list; where they begin is found by trying the latest place first.
    for first in range(len(items) - 1, parents[0], -1):
        families = _families(items, first)
        if families is not None:
            return [_with_children(item, families) for item in items[:first]]
    return items


def _families(items: list[Item], first: int) -> dict[int, list[Item]] | None:
    """The children of each parent by place, if those from `first` on can be shared out without a rest."""
    shares = [_share(item)[0] for item in items]
    raw = [_number(item.get("percent_estimate")) for item in items]
    families: dict[int, list[Item]] = {}
    at = first
    for parent in range(len(items)):
        if items[parent].get("has_sub_ingredients") != "yes":
            continue
        total = raw[parent] if raw[parent] is not None else shares[parent]
        if total is None or parent >= at:
            return None
        members: list[Item] = []
        gathered = 0.0
        while at < len(items) and (not members or gathered < total - 0.01):
            share = raw[at] if raw[at] is not None else shares[at]
            if share is None:
                return None
            members.append(items[at])
            gathered += share
            at += 1
        if not members or abs(gathered - total) > 0.05:
            return None
        families[id(items[parent])] = members
    return families if at == len(items) else None


def _with_children(item: Item, families: dict[int, list[Item]]) -> Item:
    if id(item) not in families:
        return item
    return {**item, "ingredients": [_with_children(child, families) for child in families[id(item)]]}


def _name(item: Item) -> str:
    text = item.get("text")
    name = clean(text[: 4 * MAX_NAME])[:MAX_NAME].strip() if isinstance(text, str) else ""
    if name:
        return name
    tag = item.get("id")
    return tag.partition(":")[2].replace("-", " ")[:MAX_NAME] if isinstance(tag, str) else ""


def _known_as(item: Item) -> str | None:
    """The id, if the taxonomy has it: an unknown name gets an id too, made of its words."""
    tag = item.get("id")
    if not isinstance(tag, str) or len(tag) > MAX_NAME or not _TAG.match(tag):
        return None
    return tag if item.get("is_in_taxonomy", 1) in (1, "1") else None


def _function_of_id(tag: str | None) -> str | None:
    return function_of(tag.partition(":")[2].replace("-", " ")) if tag else None


def _share(item: Item) -> tuple[float | None, bool]:
    told = _number(item.get("percent"))
    share = told if told is not None else _number(item.get("percent_estimate"))
    return (None if share is None else round(share, 2)), told is None and share is not None


def _number(value: Any) -> float | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,20})?", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return None
    return float(value)


def _answer(value: Any) -> str | None:
    # "en:yes" stands in some documents, where a label such as "vegan" decided.
    answer = value.removeprefix("en:") if isinstance(value, str) else None
    return answer if answer in _ANSWERS else None


def _tag_words(value: Any) -> tuple[str, ...]:
    tags = value[:500].split(",") if isinstance(value, str) else []
    return tuple(tag.partition(":")[2].replace("-", " ") for tag in tags if _TAG.match(tag))
