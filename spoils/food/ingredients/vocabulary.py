"""The words of labels, read once from the files in `words/`: one for each language, and two of no language."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoils.food.ingredients.normalise import fold

FOLDER = Path(__file__).with_name("words")
#: English comes first, so that its word wins where two languages have the same one.
LANGUAGES = ("en", "fr", "de", "es", "it", "nl", "pl", "pt", "other")


def _file(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))


_FILES = [_file(language) for language in LANGUAGES]


def split(text: str) -> list[str]:
    """The words or phrases of one entry: `a, b` is a and b."""
    return [word for word in text.split(", ") if word]


def entries(section: str) -> Iterator[tuple[str, str]]:
    """Every key of a section, with each of its words, of all languages."""
    for file in _FILES:
        for key, words in file.get(section, {}).items():
            for word in split(words):
                yield key, word


def replacements(section: str) -> dict[str, str]:
    """Each phrase of a section, and what it gives way to."""
    return {phrase: left for file in _FILES for phrase, left in file.get(section, {}).items()}


def folded(section: str) -> dict[str, str]:
    """Yield each word of a section in the form used for comparison, with its key."""
    found: dict[str, str] = {}
    for key, word in entries(section):
        found.setdefault(fold(word), key)
    return found


def phrases(kind: str) -> list[str]:
    """The phrases of this kind in `[label]`, of all languages."""
    return [word for file in _FILES for word in split(file["label"].get(kind, ""))]


def alternatives(kind: str) -> str:
    """A pattern of these phrases, the longest first: `*` stands for the end of a word, `…` for words between."""
    return "|".join(map(_pattern, sorted(phrases(kind), key=len, reverse=True)))


def phrase(kind: str) -> "re.Pattern[str]":
    """A pattern that finds a phrase of this kind wherever a word begins."""
    return re.compile(rf"(?<!\w)(?:{alternatives(kind)})", re.IGNORECASE)


def _pattern(words: str) -> str:
    # `traces d'` goes on with the next word; any other phrase ends where a word does.
    end = "" if words.endswith("'") else r"(?!\w)"
    return r"[\s\-]+".join("".join(map(_letter, word)) for word in words.split()) + end


def _letter(letter: str) -> str:
    """What may stand for a letter: labels leave accents out."""
    match letter:
        case "…":
            return r"[^.;]{1,100}?"
        case "*":
            return r"\w*"
        case "'":
            return "['’]"
    bare = fold(letter)
    return f"[{letter}{bare}]" if len(bare) == 1 and bare != letter else re.escape(letter)


@dataclass(frozen=True)
class Known:
    """What is known of one ingredient; the id and the answers are those of the taxonomy."""

    id: str
    vegan: str | None = None
    vegetarian: str | None = None
    palm_oil: str | None = None


_ADDITIVES = _file("additives")
#: E-number to its English name and its usual function.
ADDITIVES: dict[str, list[str]] = {code: text.split(" | ") for code, text in _ADDITIVES["additives"].items()}
ADDITIVE_ANSWERS = {key: frozenset(split(codes)) for key, codes in _ADDITIVES["answers"].items()}
ONLY_WITH_FUNCTION = frozenset(split(_ADDITIVES["names"]["only_with_function"]))
_PLAIN_FOOD = set(split(_ADDITIVES["names"]["plain_food"]))
#: Folded name to E-number.
ADDITIVE_NAMES = {
    name: code
    for name, code in (
        {fold(name): code for code, (name, _) in ADDITIVES.items()} | folded("additives")
    ).items()
    if name not in _PLAIN_FOOD
}
#: Folded word of a label to the function's English name.
FUNCTIONS = folded("functions")
_KNOWN = {
    key: Known(f"en:{key}", *split(answers)) for key, answers in _file("ingredients")["ingredients"].items()
}
_BY_NAME = {name: _KNOWN[key] for name, key in folded("ingredients").items()}
_OILS = {name: _KNOWN[key] for name, key in folded("oils").items()}
PALM_OIL = _KNOWN["palm-oil"]
#: What is an oil or a fat, and what holds palm, by the words of a name.
FAT = phrase("fats")
PALM = phrase("palm")
_QUALIFIERS = phrase("qualifiers")


def look_up(name: str, *, of_oils: bool = False) -> Known | None:
    """What is known of an ingredient of this name; `palm` among oils is palm oil."""
    plain = fold(name)
    if of_oils and PALM.fullmatch(plain):
        return PALM_OIL
    found = (_OILS.get(plain) if of_oils else None) or _BY_NAME.get(plain)
    if found is None and PALM.search(name) and FAT.search(name):
        return PALM_OIL
    if found is None and (bare := _QUALIFIERS.sub(" ", name)) != name:
        return _BY_NAME.get(fold(bare))
    return found
