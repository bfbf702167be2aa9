"""Ingredients read from the text of a label."""

import re
from dataclasses import dataclass, field, replace

from spoils.food.ingredients.allergens import (
    ALLERGENS,
    NOT_VEGAN,
    NOT_VEGETARIAN,
    allergens_in,
    is_only_free_from,
)
from spoils.food.ingredients.functions import function_of
from spoils.food.ingredients.model import Ingredient, Named
from spoils.food.ingredients.normalise import clean
from spoils.food.ingredients.outline import Entry, grouped, sentences
from spoils.food.ingredients.recognise import additive_code, additive_entry, is_only_a_code, recognised
from spoils.food.ingredients.separators import separated
from spoils.food.ingredients.shares import estimated, take_percent, weights_as_shares
from spoils.food.ingredients.statements import EDGES, Beside, only_ingredients, or_less, without_heading
from spoils.food.ingredients.verdicts import of_additive
from spoils.food.ingredients.vocabulary import FAT, PALM, alternatives, look_up

MAX_TEXT = 20_000
MAX_NAME = 200
_MAX_INCLUDED = 5
_AMOUNT = re.compile(
    r"(?<!\S)[0-9][0-9.,]{0,8}\s?(?:g|mg|µg|mcg|ml|kg|kj|kcal)(?![^\s/])(?:\s?/\s?[0-9]{1,4}\s?m?[gl]\b)?",
    re.IGNORECASE,
)
# "(added to make free flowing)", "(from milk)", "(3.5% fat)": they tell of the name, and are no ingredient.
_DESCRIPTION = re.compile(rf"(?:{alternatives('describes')}).{{0,80}}", re.IGNORECASE)
_INCLUDING = alternatives("including")
_INCLUDING_FIRST = re.compile(rf"(?:{_INCLUDING}|{alternatives('beside')})\s+", re.IGNORECASE)
_INCLUDING_WITHIN = re.compile(rf"\s+(?:{_INCLUDING})\s+", re.IGNORECASE)
_ENRICHED = {"en:vitamins", "en:minerals"}


@dataclass(frozen=True)
class ReadText:
    """What a label's text says."""

    ingredients: tuple[Ingredient, ...]
    beside: Beside
    #: Every allergen that a word of the text names, wherever it stands.
    named: tuple[Named, ...]
    #: False where the text was longer than is read.
    whole: bool


def read_text(text: str) -> ReadText:
    """Read one label; whatever it holds, this takes time in proportion and does not raise."""
    cleaned = clean(text[: 2 * MAX_TEXT])[:MAX_TEXT]
    plain = separated(without_heading(cleaned))
    beside = Beside()
    entries: list[Entry] = []
    for sentence in sentences(plain):
        entries += grouped(only_ingredients(sentence, beside, first=not entries))
    weights_as_shares(entries)
    ingredients = estimated(tuple(_Builder(beside).ingredients(entries, _Group())))
    named = named_allergens(cleaned, though_free=True)
    return ReadText(ingredients, beside, named, whole=len(text) <= MAX_TEXT)


@dataclass(frozen=True)
class _Group:
    """What a group is, as far as it tells of its parts."""

    function: str | None = None
    #: `vegetable oils (palm, rapeseed)` names oils, `vitamins (vitamin C)` no additives.
    of_oils: bool = False
    enriched: bool = False


@dataclass
class _Said:
    """What a name and its brackets say of it."""

    share: float | None
    about: bool
    code: str | None
    function: str | None
    #: What only describes it: `from milk`.
    described: list[str] = field(default_factory=list)


class _Builder:
    """Makes ingredients of entries; as deep as the entries are, which outline.MAX_DEPTH bounds."""

    def __init__(self, beside: Beside) -> None:
        self._beside = beside

    def ingredients(self, entries: list[Entry], group: _Group) -> list[Ingredient]:
        result: list[Ingredient] = []
        for entry in entries:
            if or_less(entry.text):
                result += self.ingredients(entry.children, group)
                continue
            joins = _INCLUDING_FIRST.match(entry.text)
            read = self._ingredient(entry, group, skip=joins.end() if joins else 0)
            if joins and result and group.function is None and len(read) == 1:
                result[-1] = replace(result[-1], children=(*result[-1].children, read[0]))
            else:
                result += read
        return result

    def _ingredient(self, entry: Entry, group: _Group, *, skip: int = 0) -> list[Ingredient]:
        text, share, about = take_percent(entry.text[skip:])
        name, *included = _INCLUDING_WITHIN.split(text, maxsplit=_MAX_INCLUDED)
        name = " ".join(_AMOUNT.sub(" ", name).split()).strip(EDGES)[:MAX_NAME]
        function = function_of(name)
        code = None if group.enriched else additive_code(name, under=group.function)
        said = _Said(share, about, code, function)
        # What is left of the word in a row of them ("including including …") would nest without end.
        parts = [Entry(text=_INCLUDING_WITHIN.sub(" ", f" {part} ").strip()) for part in included]
        parts += grouped(only_ingredients(entry.children, self._beside, first=True))
        alone = len(parts) == 1
        parts = [
            part
            for at, part in enumerate(parts)
            if not self._tells(part, name, said, alone=alone, first=at == 0)
        ]
        inner = tuple(self.ingredients(parts, _group(name, function)))
        if is_only_free_from(name):
            self._beside.statements.append(name)
            return list(inner)
        if not name.strip() or (name.isdigit() and not said.code and group.function is None and not inner):
            return list(inner)
        return [_ingredient(name, said, group, inner)]

    def _tells(self, part: Entry, name: str, said: _Said, *, alone: bool, first: bool) -> bool:
        """Whether what stands in the brackets tells of the name, and is no part of it: `(12 %)`, `(E330)`.

        A function, a code or a description that has others beside it belongs to its own part.
        """
        rest, share, about = take_percent(part.text)
        rest = rest.strip(EDGES)
        if part.children:
            return False
        if share is not None and not rest and first and said.share is None:
            said.share, said.about = share, about
            return True
        if not rest or _AMOUNT.fullmatch(rest):
            return True
        if not alone or not name:
            return False
        if said.function is None and function_of(rest):
            said.function = function_of(rest)
        elif function_of(name) is None and is_only_a_code(rest):
            said.code = additive_code(rest)
        elif _DESCRIPTION.fullmatch(rest) and not recognised(rest):
            said.described.append(rest)
        else:
            return False
        return True


def _group(name: str, function: str | None) -> _Group:
    known = look_up(name)
    return _Group(
        function=function,
        of_oils=FAT.search(name) is not None,
        enriched=known is not None and known.id in _ENRICHED,
    )


def _ingredient(name: str, said: _Said, group: _Group, inner: tuple[Ingredient, ...]) -> Ingredient:
    words = ", ".join([name, *said.described])
    allergens = named_allergens(words)
    ingredient = Ingredient(
        name=name,
        share=said.share,
        share_is_estimate=said.about,
        function=said.function,
        allergens=allergens,
        children=inner,
    )
    own_function = None if said.code else function_of(name)
    if own_function:
        ingredient = replace(ingredient, known_as=f"en:{own_function.replace(' ', '-')}")
    elif known := of_additive(said.code) if said.code else look_up(name, of_oils=group.of_oils):
        ingredient = replace(
            ingredient,
            known_as=known.id,
            vegan=known.vegan,
            vegetarian=known.vegetarian,
            palm_oil=known.palm_oil,
        )
    if said.code:
        function = said.function or group.function or additive_entry(said.code)[1]
        ingredient = replace(ingredient, additive=said.code, function=function)
    tags = [one.tag for one in allergens]
    if NOT_VEGAN.intersection(tags):
        ingredient = replace(ingredient, vegan="no")
    if NOT_VEGETARIAN.intersection(tags):
        ingredient = replace(ingredient, vegetarian="no")
    if FAT.search(name) and PALM.search(words):
        ingredient = replace(ingredient, palm_oil="yes")
    return ingredient


def named_allergens(text: str, *, though_free: bool = False) -> tuple[Named, ...]:
    """The allergens that a name tells by its words."""
    return tuple(Named(tag, ALLERGENS[tag]) for tag in allergens_in(text, though_free=though_free))
