"""What stands beside the ingredients of a label: traces, declared allergens, footnotes, advice."""

from dataclasses import dataclass, field

from spoils.food.ingredients.allergens import allergens_in
from spoils.food.ingredients.outline import Entry
from spoils.food.ingredients.recognise import recognised
from spoils.food.ingredients.statements import (
    advice,
    contains_within,
    declares,
    footnote,
    may_contain,
    or_less,
    without_contains,
)

#: What may stand around a name and is no part of it.
EDGES = " \t-–—*†‡°¹²³'\"«»„“”.:+=~#/\\"
_PROSE_WORDS = 6


@dataclass
class Beside:
    """What was found, in its order."""

    #: Tags of allergens that are declared apart from the list, and of those there may be traces of.
    declared: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    #: The rest, word for word.
    statements: list[str] = field(default_factory=list)

    def declare(self, text: str) -> None:
        """Take in a sentence such as `Contains: milk`."""
        tags = allergens_in(text)
        self.declared += tags
        if not tags:
            self.statements.append(text)

    def trace(self, text: str) -> None:
        """Take in a sentence such as `May contain nuts`."""
        tags = allergens_in(text)
        self.traces += tags
        if not tags:
            self.statements.append(text)


def only_ingredients(sentence: list[Entry], beside: Beside, *, first: bool) -> list[Entry]:
    """Take out of a sentence what is about traces, allergens or storage."""
    whole = ", ".join(entry.all_text() for entry in sentence)
    if footnote(whole) or advice(whole):
        beside.statements.append(whole)
        return []
    if declares(whole) and not or_less(sentence[0].text):
        if not first:
            beside.declare(whole)
            return []
        sentence[0].text = without_contains(sentence[0].text)
    kept: list[Entry] = []
    for at, entry in enumerate(sentence):
        begins = may_contain(entry.text)
        if begins is not None:
            rest = [entry.text[begins:], *(child.all_text() for child in entry.children)]
            beside.trace(", ".join([*rest, *(later.all_text() for later in sentence[at + 1 :])]))
            return _with_head(kept, entry.text[:begins])
        begins = contains_within(entry.text)
        if begins is not None:
            later = [entry.text[begins:], *(later.all_text() for later in sentence[at + 1 :])]
            beside.declare(", ".join(later))
            return _with_head(kept, entry.text[:begins])
        kept += _without_footnote(entry, beside)
    if not first and _prose(kept):
        beside.statements.append(whole)
        return []
    return kept


def _without_footnote(entry: Entry, beside: Beside) -> list[Entry]:
    head, star, note = entry.text.partition(" *") if entry.text[:1] != "*" else ("", "*", entry.text[1:])
    if not star or not footnote(f"*{note}"):
        return [entry]
    beside.statements.append(f"*{note}")
    return [Entry(text=head, children=entry.children, end=entry.end)] if head else []


def _with_head(kept: list[Entry], text: str) -> list[Entry]:
    return [*kept, Entry(text=text.strip())] if text.strip(EDGES) else kept


def _prose(sentence: list[Entry]) -> bool:
    """A later sentence of many words and no list is not about ingredients."""
    if len(sentence) != 1 or sentence[0].children or sentence[0].end == "colon":
        return False
    text = sentence[0].text
    return len(text.split()) > _PROSE_WORDS and not recognised(text)
