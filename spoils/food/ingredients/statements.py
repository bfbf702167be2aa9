"""Sentences that stand among the ingredients of a label and are none: traces, declarations, footnotes, advice."""

import re
from dataclasses import dataclass, field

from spoils.food.ingredients.allergens import allergens_in
from spoils.food.ingredients.outline import Entry
from spoils.food.ingredients.recognise import recognised
from spoils.food.ingredients.vocabulary import alternatives, phrase

#: What may stand around a name and is no part of it.
EDGES = " \t-–—*†‡°¹²³'\"«»„“”.:+=~#/\\"
_PROSE_WORDS = 6
_TRACES = phrase("traces")
_CONTAINS = re.compile(rf"(?:{alternatives('contains')})[\s:]*", re.IGNORECASE)
# Within a name only a capital letter tells that a new sentence began there.
_CONTAINS_WITHIN = re.compile(
    rf"(?<=[\w)%]) (?=(?-i:[A-Z])\w*)(?=(?:{alternatives('contains')}) )", re.IGNORECASE
)
_FOOTNOTE = phrase("footnotes")
_ADVICE = phrase("advice")
_REFERS = phrase("refers")
_HEADING = re.compile(rf"(?<!\w)(?:{alternatives('headings')})\s?[:：]\s?", re.IGNORECASE)
_OR_LESS = re.compile(
    r"^(?:contains?\s)?(?:(?:less than|moins de)\s?)?[0-9.,]+\s?%(?:\s(?:or less|ou moins))?(?:\s(?:of|de))?(?: each of)?(?: the following)?$"
    r"|^contains (?:one or more )?(?:of )?the following$",
    re.IGNORECASE,
)


@dataclass
class Beside:
    """What stands beside the ingredients, in its order."""

    #: Tags of allergens that are declared apart from the list, and of those there may be traces of.
    declared: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    #: The rest, word for word.
    statements: list[str] = field(default_factory=list)

    def declare(self, text: str) -> None:
        """Take in a sentence such as `Contains: milk`."""
        self._take(text, self.declared)

    def trace(self, text: str) -> None:
        """Take in a sentence such as `May contain nuts`."""
        self._take(text, self.traces)

    def _take(self, text: str, into: list[str]) -> None:
        tags = allergens_in(text)
        into += tags
        if not tags:
            self.statements.append(text)


def without_heading(text: str) -> str:
    """The text behind `Ingredients:`; what a label says before it is not the list."""
    heading = _HEADING.search(text)
    return text[heading.end() :] if heading else text


def or_less(text: str) -> bool:
    """Whether this only says how little there is of what follows: `contains 2% or less of`."""
    return _OR_LESS.match(text) is not None


def only_ingredients(sentence: list[Entry], beside: Beside, *, first: bool) -> list[Entry]:
    """Take out of a sentence, or of what stands in brackets, all that is no ingredient."""
    whole = ", ".join(entry.all_text() for entry in sentence)
    if not whole:
        return []
    kept: list[Entry] = []
    for at, entry in enumerate(sentence):
        if begins := _TRACES.search(entry.text):
            told = [entry.text[begins.start() :], *(child.all_text() for child in entry.children)]
            beside.trace(", ".join([*told, *(later.all_text() for later in sentence[at + 1 :])]))
            head = _head(entry.text[: begins.start()])
            # "Fabriqué" of "Fabriqué dans un atelier …" begins the sentence and is no ingredient.
            return [*kept, Entry(head)] if head and (first or at or recognised(head)) else kept
        if at == 0 and _is_statement(sentence, whole, first=first):
            beside.statements.append(whole)
            return []
        if at == 0 and (contains := _CONTAINS.match(whole)) and not or_less(entry.text):
            if not first:
                _declared(whole, beside)
                return []
            entry.text = entry.text[contains.end() :]
        if at and entry.end == "colon" and _CONTAINS.fullmatch(entry.text):
            beside.declare(", ".join(later.all_text() for later in sentence[at + 1 :]))
            return kept
        if within := _CONTAINS_WITHIN.search(entry.text):
            told = [entry.text[within.end() :], *(later.all_text() for later in sentence[at + 1 :])]
            beside.declare(", ".join(told))
            head = _head(entry.text[: within.start()])
            return [*kept, Entry(head)] if head else kept
        kept += _without_footnote(entry, beside)
    if not first and _is_prose(kept):
        beside.statements.append(whole)
        return []
    return kept


def _declared(whole: str, beside: Beside) -> None:
    """Take in `Contains: milk`, also where `may contain nuts` follows, or where it only says how they are printed."""
    if _REFERS.search(whole):
        beside.statements.append(whole)
    elif traces := _TRACES.search(whole):
        beside.declared += allergens_in(whole[: traces.start()])
        beside.trace(whole[traces.start() :])
    else:
        beside.declare(whole)


def _is_statement(sentence: list[Entry], whole: str, *, first: bool) -> bool:
    """Whether this is a footnote, or about keeping, serving or packing; a first sentence is the list, if it is long."""
    if whole.startswith("*"):
        return not first or _FOOTNOTE.search(whole) is not None
    return _ADVICE.match(whole) is not None and (not first or _is_single(sentence))


def _is_single(sentence: list[Entry]) -> bool:
    return len(sentence) == 1 and not sentence[0].children and not allergens_in(sentence[0].text)


def _without_footnote(entry: Entry, beside: Beside) -> list[Entry]:
    head, star, note = entry.text.partition(" *") if entry.text[:1] != "*" else ("", "*", entry.text[1:])
    if not star or not _FOOTNOTE.search(note):
        return [entry]
    beside.statements.append(f"*{note}")
    return [Entry(text=head, children=entry.children, end=entry.end)] if head else []


def _head(text: str) -> str:
    head = text.strip()
    return head if head.strip(EDGES) and not _CONTAINS.fullmatch(head) else ""


def _is_prose(sentence: list[Entry]) -> bool:
    """A later sentence of many words and no list is not about ingredients."""
    if len(sentence) != 1 or sentence[0].children or sentence[0].end == "colon":
        return False
    text = sentence[0].text
    return len(text.split()) > _PROSE_WORDS and not recognised(text)
