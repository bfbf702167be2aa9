"""The fourteen allergens that the European Union makes labels declare, and the words they go by."""

import re
from collections.abc import Iterable, Iterator

from spoils.food.ingredients.normalise import fold
from spoils.food.ingredients.vocabulary import entries, replacements

#: Tag to the words that people use.
ALLERGENS = {
    "en:gluten": "gluten",
    "en:crustaceans": "crustaceans",
    "en:eggs": "eggs",
    "en:fish": "fish",
    "en:peanuts": "peanuts",
    "en:soybeans": "soybeans",
    "en:milk": "milk",
    "en:nuts": "nuts",
    "en:celery": "celery",
    "en:mustard": "mustard",
    "en:sesame-seeds": "sesame seeds",
    "en:sulphur-dioxide-and-sulphites": "sulphur dioxide and sulphites",
    "en:lupin": "lupin",
    "en:molluscs": "molluscs",
}
#: The tags of what no vegetarian and no vegan eats.
NOT_VEGETARIAN = frozenset({"en:crustaceans", "en:fish", "en:molluscs"})
NOT_VEGAN = NOT_VEGETARIAN | {"en:eggs", "en:milk"}


def _pattern(phrases: Iterable[str]) -> "re.Pattern[str]":
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(_folded_pattern(text) for text in longest_first)})\b")


def _folded_pattern(text: str) -> str:
    return re.escape(fold(text)) + (r"\w*" if text.endswith("*") else "")


# What is named after an allergen and is none of it, and the word that it leaves: "peanut butter" is peanut.
_NOT_SO = replacements("not_allergens")
_NAMED_AFTER = _pattern(_NOT_SO)
_LEFT = {fold(text): f" {fold(left)} " for text, left in _NOT_SO.items()}
_FREE_FROM = [(f"en:{key}", _pattern([phrase])) for key, phrase in entries("free_from")]

# A star at the end of a word stands for any letters; one before it too: German and Dutch write wheat flour as one.
_WHOLE: dict[str, str] = {}
_BEGINNINGS: dict[str, str] = {}
_WITHIN: dict[str, str] = {}
for _key, _word in entries("allergens"):
    _table = _WITHIN if _word.startswith("*") else _BEGINNINGS if _word.endswith("*") else _WHOLE
    _table.setdefault(fold(_word), f"en:{_key}")
_INSIDE = re.compile("|".join(sorted(_WITHIN, key=len, reverse=True)))
_SHORTEST, _LONGEST = min(map(len, _BEGINNINGS)), max(map(len, _BEGINNINGS))


def allergens_in(text: str, *, though_free: bool = False) -> tuple[str, ...]:
    """The tags of the allergens that these words name, in the order of the words.

    `gluten free oats` name no gluten; with `though_free` they do, by the oats.
    """
    plain = fold(text)
    absent = set()
    for tag, phrase in _FREE_FROM:
        without = phrase.sub(" ", plain)
        if without != plain:
            absent.add(tag)
            plain = without
    plain = _NAMED_AFTER.sub(_left, plain)
    tags = (tag for word in plain.replace("'", " ").split() for tag in _tags_of(word))
    return tuple(dict.fromkeys(tag for tag in tags if though_free or tag not in absent))


def is_only_free_from(text: str) -> bool:
    """Whether this says only what there is none of: `gluten free`."""
    plain = fold(text)
    return bool(plain) and any(phrase.fullmatch(plain) for _, phrase in _FREE_FROM)


def _left(found: "re.Match[str]") -> str:
    words = found.group()
    return _LEFT.get(words) or next(
        (left for text, left in _LEFT.items() if text and words.startswith(text)), " "
    )


def _tags_of(word: str) -> Iterator[str]:
    if word in _WHOLE:
        yield _WHOLE[word]
        return
    lengths = range(min(_LONGEST, len(word)), _SHORTEST - 1, -1)
    yield from (_BEGINNINGS[word[:n]] for n in lengths if word[:n] in _BEGINNINGS)
    yield from (_WITHIN[part] for part in _INSIDE.findall(word))
