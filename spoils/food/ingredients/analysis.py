"""The analysis of one product, from whatever its data holds."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spoils.food.ingredients import notes
from spoils.food.ingredients.allergens import ALLERGENS, NOT_VEGAN, NOT_VEGETARIAN, allergens_in
from spoils.food.ingredients.model import Additive, Analysis, Ingredient, Named, Source
from spoils.food.ingredients.normalise import clean
from spoils.food.ingredients.recognise import additive_entry, code_of_tag
from spoils.food.ingredients.structured import read_list
from spoils.food.ingredients.text import MAX_TEXT, read_text
from spoils.food.ingredients.verdicts import MATTERS, deciding, declared, rolled_up

_MAX_TAGS = 100
_MAX_NAMES = 100
_ENOUGH = 0.5
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_TEXT = re.compile(r"ingredients_text_[a-z]{2,3}")
_TAG = re.compile(r"([a-z]{2,3}):(?:[a-z]{2}-(?=.))?(.{1,100})")


def analyse(product: Mapping[str, Any]) -> Analysis:
    """Analyse the `product` object of Open Food Facts; fields of odd types count as not stated."""
    text = _text(product)
    read = read_text(text or "")
    listed = read_list(product.get("ingredients"))
    source, ingredients = _better(listed, read.ingredients)
    declared_allergens = _unique(
        [*_allergens(_tags(product, "allergens")), *map(_named, read.beside.declared)]
    )
    of_list = (allergen for item in _all(ingredients) for allergen in item.allergens)
    allergens = _unique([*declared_allergens, *of_list])
    traces = _unique([*_allergens(_tags(product, "traces")), *map(_named, read.beside.traces)])
    unrecognised = _unrecognised(ingredients, source)
    known = {one.tag for one in (*allergens, *traces)}
    mentioned = tuple(one for one in read.named if one.tag not in known)
    verdicts = _verdicts(product, ingredients, source, [one.tag for one in (*allergens, *mentioned)])
    return Analysis(
        source=source,
        language=_language(product),
        text=text,
        ingredients=ingredients,
        additives=_additives(ingredients, read.ingredients, _tags(product, "additives")),
        allergens=allergens,
        declared=declared_allergens,
        traces=traces,
        mentioned=mentioned,
        vegan=verdicts["vegan"],
        vegetarian=verdicts["vegetarian"],
        palm_oil=verdicts["palm_oil"],
        unrecognised=unrecognised,
        notes=tuple(
            notes.of(
                source=source,
                listed=bool(listed),
                ingredients=list(_all(ingredients)),
                unrecognised=len(unrecognised),
                unknown_upstream=product.get("unknown_ingredients_n"),
                undeclared=[one.name for one in allergens if one not in declared_allergens],
                mentioned=[one.name for one in mentioned],
                verdicts=verdicts,
                depends_on=_depends_on(ingredients, verdicts),
                statements=list(dict.fromkeys(read.beside.statements)),
                whole=read.whole,
            )
        ),
    )


def _better(
    listed: tuple[Ingredient, ...], read: tuple[Ingredient, ...]
) -> tuple[Source, tuple[Ingredient, ...]]:
    """The parsed list; but where little of it was recognised and more of the text is, the text.

    A list parsed in the wrong language holds "made in Portugal, with pride" as two ingredients.
    """
    if listed and (_known_part(listed) >= _ENOUGH or _known_part(read) <= _known_part(listed)):
        return "list", listed
    return ("text", read) if read else ("none", ())


def _known_part(ingredients: tuple[Ingredient, ...]) -> float:
    leaves = [item for item in _all(ingredients) if not item.children]
    return sum(item.known_as is not None for item in leaves) / len(leaves) if leaves else 0.0


def _text(product: Mapping[str, Any]) -> str | None:
    """The text in the product's own language, else in English, else in any."""
    languages = (product.get(field) for field in ("ingredients_lc", "lc", "lang"))
    codes = [code for code in languages if isinstance(code, str) and _LANGUAGE.fullmatch(code)]
    others = sorted(name for name in product if _TEXT.fullmatch(str(name)))
    for name in ("ingredients_text", *(f"ingredients_text_{code}" for code in [*codes, "en"]), *others):
        value = product.get(name)
        # One character more than is read, so that the reader can tell that it was cut.
        if isinstance(value, str) and (text := clean(value[: 4 * MAX_TEXT])[: MAX_TEXT + 1]):
            return text
    return None


def _language(product: Mapping[str, Any]) -> str | None:
    for field in ("ingredients_lc", "lc", "lang"):
        code = product.get(field)
        if isinstance(code, str) and _LANGUAGE.fullmatch(code):
            return code
    return None


def _tags(product: Mapping[str, Any], field: str) -> list[str]:
    """A field's tags; older documents hold them only as one string."""
    value = product.get(f"{field}_tags")
    if not isinstance(value, list):
        plain = product.get(field)
        value = plain[:5000].split(",") if isinstance(plain, str) else []
    tags = (clean(tag[:200]).lower() for tag in value[:_MAX_TAGS] if isinstance(tag, str))
    return [tag for tag in tags if tag]


def _allergens(tags: Iterable[str]) -> list[Named]:
    """Allergens by their tags, in whatever language; "fr:e150d" stands among them in real data, and is none."""
    found = [match for tag in tags if (match := _TAG.fullmatch(tag)) and match[2] != "none"]
    return [named for match in found for named in _allergens_of_tag(match[1], match[2])]


def _allergens_of_tag(language: str, words: str) -> list[Named]:
    if f"{language}:{words}" in ALLERGENS:
        return [_named(f"{language}:{words}")]
    if known := allergens_in(words.replace("-", " "), though_free=True):
        return [_named(tag) for tag in known]
    return [] if code_of_tag(words) else [_named(f"{language}:{words}")]


def _named(tag: str) -> Named:
    return Named(tag, ALLERGENS.get(tag) or tag.partition(":")[2].replace("-", " "))


def _additives(
    ingredients: tuple[Ingredient, ...], read: tuple[Ingredient, ...], tags: list[str]
) -> tuple[Additive, ...]:
    """Those of the list in its order, then those that only the text or the tags tell.

    A group gives way to its member: E331 to E331iii.
    """
    found = [item for item in (*_all(ingredients), *_all(read)) if item.additive]
    functions = {item.additive: item.function for item in reversed(found)}
    codes = [item.additive for item in found if item.additive]
    codes += [code for code in map(code_of_tag, tags) if code]
    unique = list(dict.fromkeys(codes))
    specific = [
        code for code in unique if not any(other != code and _within(other, code) for other in unique)
    ]
    return tuple(
        Additive(code, additive_entry(code)[0], functions.get(code) or additive_entry(code)[1])
        for code in specific[:_MAX_NAMES]
    )


def _within(code: str, group: str) -> bool:
    return code.startswith(group) and not code[len(group)].isdigit()


def _verdicts(
    product: Mapping[str, Any], ingredients: tuple[Ingredient, ...], source: Source, named: list[str]
) -> dict[str, str]:
    """Those of the data, else ours; an allergen that no ingredient accounts for makes a "yes" a "maybe"."""
    ours = {matter: rolled_up(ingredients, matter) for matter in MATTERS}
    for diet, excluded in (("vegan", NOT_VEGAN), ("vegetarian", NOT_VEGETARIAN)):
        if ours[diet] == "yes" and excluded.intersection(named):
            ours[diet] = "maybe"
    told = declared(_tags(product, "ingredients_analysis"))
    if source == "text":  # an "unknown" is about the list that was not used
        told = {key: verdict for key, verdict in told.items() if verdict != "unknown"}
    return ours | told


def _depends_on(ingredients: tuple[Ingredient, ...], verdicts: Mapping[str, str]) -> dict[str, list[str]]:
    """The names that leave a matter open, where no ingredient decides it."""
    return {
        matter: [item.name for item, answer in deciding(ingredients, matter) if answer == "maybe"]
        or ["allergens named beside the list"]
        for matter, verdict in verdicts.items()
        if verdict == "maybe"
    }


def _unrecognised(ingredients: tuple[Ingredient, ...], source: Source) -> tuple[str, ...]:
    names = (
        item.name
        for item in _all(ingredients)
        if not item.known_as and not item.additive
        # In a text "seasoning packet: …" only heads a group; the list would have known it.
        if not (source == "text" and len(item.children) > 1)
    )
    return tuple(dict.fromkeys(names))[:_MAX_NAMES]


def _all(ingredients: Iterable[Ingredient]) -> Iterator[Ingredient]:
    for item in ingredients:
        yield item
        yield from _all(item.children)


def _unique(named: Iterable[Named]) -> tuple[Named, ...]:
    return tuple(dict.fromkeys(named))
