"""Ingredients read from the text of a label."""

import re
from dataclasses import dataclass, replace

from spoils.ingredients.allergens import ALLERGENS, allergens_in
from spoils.ingredients.functions import function_of
from spoils.ingredients.model import Ingredient, Named
from spoils.ingredients.outline import Entry, grouped, sentences
from spoils.ingredients.recognise import additive_code, additive_entry, is_only_a_code, recognised
from spoils.ingredients.shares import estimated, take_percent
from spoils.ingredients.statements import (
    advice,
    contains_within,
    declares,
    footnote,
    may_contain,
    or_less,
    without_contains,
    without_heading,
)
from spoils.ingredients.verdicts import palm_oil_of_additive, vegan_of_additive, vegetarian_of_additive
from spoils.ingredients.vocabulary import Known, look_up
from spoils.ingredients.words import clean, fold

MAX_TEXT = 20_000
MAX_NAME = 200
_PROSE_WORDS = 6
_MAX_INCLUDED = 5
_EDGES = " \t-–—*†‡°¹²³'\"«»„“”.:+=~#/\\"
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
    #: Tags of allergens that it declares apart from the list, and of those it may hold traces of.
    declared: tuple[str, ...]
    traces: tuple[str, ...]
    #: What stands among the ingredients and is none, word for word.
    statements: tuple[str, ...]
    #: False where the text was longer than is read.
    whole: bool


def read_text(text: str) -> ReadText:
    """Read one label; whatever it holds, this takes time in proportion and does not raise."""
    plain = without_heading(clean(text[: 2 * MAX_TEXT])[:MAX_TEXT])
    plain = _PER_100_G.sub(r"\1%", _ROMAN_IN_BRACKETS.sub(r"\1\2", plain))
    return _Reader().read(plain, whole=len(text) <= MAX_TEXT)


class _Reader:
    """Goes through the sentences once, and sorts what it meets."""

    def __init__(self) -> None:
        self._declared: list[str] = []
        self._traces: list[str] = []
        self._statements: list[str] = []

    def read(self, plain: str, *, whole: bool) -> ReadText:
        entries: list[Entry] = []
        for sentence in sentences(plain):
            entries += grouped(self._only_ingredients(sentence, first=not entries))
        ingredients = estimated(tuple(self._ingredients(entries, None)))
        return ReadText(
            ingredients=ingredients,
            declared=tuple(dict.fromkeys(self._declared)),
            traces=tuple(dict.fromkeys(self._traces)),
            statements=tuple(dict.fromkeys(self._statements)),
            whole=whole,
        )

    def _only_ingredients(self, sentence: list[Entry], *, first: bool) -> list[Entry]:
        """Take out of a sentence what is about traces, allergens or storage."""
        whole = ", ".join(entry.all_text() for entry in sentence)
        if footnote(whole) or advice(whole):
            self._statements.append(whole)
            return []
        if declares(whole) and not or_less(sentence[0].text):
            if not first:
                self._declare(whole)
                return []
            sentence[0].text = without_contains(sentence[0].text)
        kept: list[Entry] = []
        for at, entry in enumerate(sentence):
            begins = may_contain(entry.text)
            if begins is not None:
                rest = [entry.text[begins:], *(child.all_text() for child in entry.children)]
                self._trace(", ".join([*rest, *(later.all_text() for later in sentence[at + 1 :])]))
                return self._with_head(kept, entry.text[:begins])
            begins = contains_within(entry.text)
            if begins is not None:
                later = [entry.text[begins:], *(later.all_text() for later in sentence[at + 1 :])]
                self._declare(", ".join(later))
                return self._with_head(kept, entry.text[:begins])
            kept += self._without_footnote(entry)
        if not first and _prose(kept):
            self._statements.append(whole)
            return []
        return kept

    def _without_footnote(self, entry: Entry) -> list[Entry]:
        head, star, note = entry.text.partition(" *") if entry.text[:1] != "*" else ("", "*", entry.text[1:])
        if not star or not footnote(f"*{note}"):
            return [entry]
        self._statements.append(f"*{note}")
        return [Entry(text=head, children=entry.children, end=entry.end)] if head else []

    def _with_head(self, kept: list[Entry], text: str) -> list[Entry]:
        return [*kept, Entry(text=text.strip())] if text.strip(_EDGES) else kept

    def _trace(self, text: str) -> None:
        tags = allergens_in(text)
        self._traces += tags
        if not tags:
            self._statements.append(text)

    def _declare(self, text: str) -> None:
        tags = allergens_in(text)
        self._declared += tags
        if not tags:
            self._statements.append(text)

    def _ingredients(self, entries: list[Entry], function: str | None) -> list[Ingredient]:
        """Make ingredients of entries; as deep as the entries are, which outline.MAX_DEPTH bounds."""
        result: list[Ingredient] = []
        for entry in entries:
            if or_less(entry.text):
                result += self._ingredients(entry.children, function)
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
        name = " ".join(_AMOUNT.sub(" ", name).split()).strip(_EDGES)[:MAX_NAME]
        own_function = function_of(name)
        code = additive_code(name, under_function=under is not None)
        does = own_function
        # What is left of the word in a row of them ("including including …") would nest without end.
        children = [Entry(text=_INCLUDING_WITHIN.sub(" ", f" {part} ").strip()) for part in included]
        for child in entry.children:
            rest, child_share, child_about = take_percent(child.text)
            rest = rest.strip(_EDGES)
            if child_share is not None and not child.children and (not rest or _DESCRIPTION.fullmatch(rest)):
                if not rest and share is None:
                    share, about = child_share, child_about
            elif may_contain(child.text) is not None:
                self._trace(child.all_text())
            elif own_function is None and function_of(rest) and not child.children and name:
                does = function_of(rest)
            elif own_function is None and name and is_only_a_code(rest):
                code = additive_code(rest)
            elif not child.children and (_AMOUNT.match(rest) or _described(rest)):
                continue
            else:
                children.append(child)
        inner = tuple(self._ingredients(grouped(children), own_function))
        if not name.strip() or name.isdigit() and code is None and under is None and not inner:
            return list(inner)
        if does is None and code:
            does = under or additive_entry(code)[1]
        known = None if code else look_up(name)
        return [
            Ingredient(
                name=name,
                known_as=_id(code, own_function, known),
                share=share,
                share_is_estimate=about,
                vegan=vegan_of_additive(code) if code else known.vegan if known else None,
                vegetarian=vegetarian_of_additive(code) if code else known.vegetarian if known else None,
                palm_oil=palm_oil_of_additive(code) if code else known.palm_oil if known else None,
                additive=code,
                function=does,
                allergens=named_allergens(name),
                children=inner,
            )
        ]


def named_allergens(text: str) -> tuple[Named, ...]:
    """The allergens that a name tells by its words."""
    return tuple(Named(tag, ALLERGENS[tag]) for tag in allergens_in(text))


def _id(code: str | None, function: str | None, known: Known | None) -> str | None:
    if code:
        return f"en:{code.lower()}"
    if function:
        return f"en:{fold(function).replace(' ', '-')}"
    return known.id if known else None


def _described(rest: str) -> bool:
    return _DESCRIPTION.fullmatch(rest) is not None and not recognised(rest)


def _prose(sentence: list[Entry]) -> bool:
    """A later sentence of many words and no list is not about ingredients."""
    if len(sentence) != 1 or sentence[0].children or sentence[0].end == "colon":
        return False
    text = sentence[0].text
    return len(text.split()) > _PROSE_WORDS and not recognised(text)
