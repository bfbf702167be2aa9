"""Ingredients read from the text of a label."""

import re
from dataclasses import dataclass, replace

from spoils.food.ingredients.allergens import ALLERGENS, allergens_in
from spoils.food.ingredients.beside import EDGES, Beside, only_ingredients
from spoils.food.ingredients.functions import function_of
from spoils.food.ingredients.model import Ingredient, Named
from spoils.food.ingredients.outline import Entry, grouped, sentences
from spoils.food.ingredients.recognise import additive_code, additive_entry, is_only_a_code, recognised
from spoils.food.ingredients.shares import estimated, take_percent
from spoils.food.ingredients.statements import may_contain, or_less, without_heading
from spoils.food.ingredients.verdicts import palm_oil_of_additive, vegan_of_additive, vegetarian_of_additive
from spoils.food.ingredients.vocabulary import look_up
from spoils.food.ingredients.words import clean

MAX_TEXT = 20_000
MAX_NAME = 200
_MAX_INCLUDED = 5
_ROMAN_IN_BRACKETS = re.compile(r"\b((?:E[\s-]?)?[0-9]{3,4}[a-h]?)\s?\((i{1,3}|iv|vi?)\)", re.IGNORECASE)
_PER_100_G = re.compile(
    r"\b([0-9]{1,3}(?:[.,][0-9]{1,4})?)\s?g\s?(?:/|per|pour|pro|je|por|per)\s?100\s?g\b", re.IGNORECASE
)
_AMOUNT = re.compile(
    r"(?<!\S)[0-9][0-9.,]{0,8}\s?(?:g|mg|µg|mcg|ml|kg|kj|kcal)(?![^\s/])(?:\s?/\s?[0-9]{1,4}\s?m?[gl]\b)?",
    re.IGNORECASE,
)
# "(added to make free flowing)", "(from milk)", "(3.5% fat)": they tell of the name, and are no ingredient.
_DESCRIPTION = re.compile(
    r"(?:added|to|for|from|as|origin\w*|pour|zur|zum|für|aus|issu\w*|para|per|product of|source of|non|not|sans|without|ohne"
    r"|free[- ]range|fat|mat\. gr\.|matière grasse|m\.g\.|fett|alc\.?|vol\.?|cocoa solids|brix|lean|d'origine|de origen|di origine"
    r"|dried|powder|powdered|ground|fresh|frozen|chopped|sliced|organic|bio|en poudre|getrocknet|gemahlen|wholegrain|eu|ue|france|non-eu)\b.{0,80}",
    re.IGNORECASE,
)
_INCLUDING = r"(?:including|includes|dont|y compris|inclusa|incluso|incluye|incluida|davon|darunter|waaronder|contains|contient|enthält|contiene)"
_INCLUDING_FIRST = re.compile(rf"(?:{_INCLUDING}|with|avec|mit|con|met)\s+", re.IGNORECASE)
_INCLUDING_WITHIN = re.compile(rf"\s+{_INCLUDING}\s+", re.IGNORECASE)


@dataclass(frozen=True)
class ReadText:
    """What a label's text says."""

    ingredients: tuple[Ingredient, ...]
    beside: Beside
    #: False where the text was longer than is read.
    whole: bool


def read_text(text: str) -> ReadText:
    """Read one label; whatever it holds, this takes time in proportion and does not raise."""
    plain = without_heading(clean(text[: 2 * MAX_TEXT])[:MAX_TEXT])
    plain = _PER_100_G.sub(r"\1%", _ROMAN_IN_BRACKETS.sub(r"\1\2", plain))
    beside = Beside()
    entries: list[Entry] = []
    for sentence in sentences(plain):
        entries += grouped(only_ingredients(sentence, beside, first=not entries))
    ingredients = estimated(tuple(_Builder(beside).ingredients(entries, None)))
    return ReadText(ingredients, beside, whole=len(text) <= MAX_TEXT)


class _Builder:
    """Makes ingredients of entries; as deep as the entries are, which outline.MAX_DEPTH bounds."""

    def __init__(self, beside: Beside) -> None:
        self._beside = beside

    def ingredients(self, entries: list[Entry], function: str | None) -> list[Ingredient]:
        result: list[Ingredient] = []
        for entry in entries:
            if or_less(entry.text):
                result += self.ingredients(entry.children, function)
                continue
            joins = _INCLUDING_FIRST.match(entry.text)
            read = self._ingredient(entry, function, skip=joins.end() if joins else 0)
            if joins and result and function is None and len(read) == 1:
                result[-1] = replace(result[-1], children=(*result[-1].children, read[0]))
            else:
                result += read
        return result

    def _ingredient(self, entry: Entry, under: str | None, *, skip: int = 0) -> list[Ingredient]:
        text, share, about = take_percent(entry.text[skip:])
        name, *included = _INCLUDING_WITHIN.split(text, maxsplit=_MAX_INCLUDED)
        name = " ".join(_AMOUNT.sub(" ", name).split()).strip(EDGES)[:MAX_NAME]
        said = _Said(share, about, additive_code(name, under_function=under is not None), function_of(name))
        # What is left of the word in a row of them ("including including …") would nest without end.
        parts = [Entry(text=_INCLUDING_WITHIN.sub(" ", f" {part} ").strip()) for part in included]
        parts += [child for child in entry.children if not self._tells(child, name, said)]
        inner = tuple(self.ingredients(grouped(parts), function_of(name)))
        if not name.strip() or (name.isdigit() and not said.code and under is None and not inner):
            return list(inner)
        return [_ingredient(name, said, under, inner)]

    def _tells(self, child: Entry, name: str, said: "_Said") -> bool:
        """Whether what stands in the brackets tells of the name, and is no part of it: "(12 %)", "(E330)"."""
        rest, share, about = take_percent(child.text)
        rest = rest.strip(EDGES)
        if may_contain(child.text) is not None:
            self._beside.trace(child.all_text())
            return True
        if child.children:
            return False
        if share is not None and not rest and said.share is None:
            said.share, said.about = share, about
        elif name and function_of(name) is None and function_of(rest):
            said.function = function_of(rest)
        elif name and function_of(name) is None and is_only_a_code(rest):
            said.code = additive_code(rest)
        else:
            return not rest or _AMOUNT.match(rest) is not None or _described(rest)
        return True


@dataclass
class _Said:
    """What a name and its brackets say of it."""

    share: float | None
    about: bool
    code: str | None
    function: str | None


def _ingredient(name: str, said: _Said, under: str | None, inner: tuple[Ingredient, ...]) -> Ingredient:
    ingredient = Ingredient(
        name=name,
        share=said.share,
        share_is_estimate=said.about,
        function=said.function,
        allergens=named_allergens(name),
        children=inner,
    )
    if said.code:
        return replace(
            ingredient,
            known_as=f"en:{said.code.lower()}",
            additive=said.code,
            function=said.function or under or additive_entry(said.code)[1],
            vegan=vegan_of_additive(said.code),
            vegetarian=vegetarian_of_additive(said.code),
            palm_oil=palm_oil_of_additive(said.code),
        )
    if own_function := function_of(name):
        return replace(ingredient, known_as=f"en:{own_function.replace(' ', '-')}")
    known = look_up(name)
    if known is None:
        return ingredient
    return replace(
        ingredient,
        known_as=known.id,
        vegan=known.vegan,
        vegetarian=known.vegetarian,
        palm_oil=known.palm_oil,
    )


def named_allergens(text: str) -> tuple[Named, ...]:
    """The allergens that a name tells by its words."""
    return tuple(Named(tag, ALLERGENS[tag]) for tag in allergens_in(text))


def _described(rest: str) -> bool:
    return _DESCRIPTION.fullmatch(rest) is not None and not recognised(rest)
