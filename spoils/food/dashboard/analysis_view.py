"""The stored analysis of a product's ingredients, as a page needs it; what is odd is left out. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DEEPEST = 8
MOST = 500
ANSWERS = {"yes": "yes", "no": "no", "maybe": "maybe", "unknown": "not known"}


@dataclass(frozen=True, slots=True)
class IngredientRow:
    """One line of the tree."""

    name: str
    depth: int
    parent: bool
    known_as: str
    share: float | None
    share_text: str
    estimate: bool
    allergens: str
    what: str


@dataclass(frozen=True, slots=True)
class Printed:
    """A piece of the label's text; allergens are set bold."""

    text: str
    bold: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What the analysis says on one matter."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class AnalysisView:
    """What the page of a product shows of its analysis."""

    rows: tuple[IngredientRow, ...]
    parsed: int
    known: int
    estimates: str
    """The note about shares that the label does not state; nothing where it states them all."""
    additives: tuple[str, ...]
    allergens: tuple[str, ...]
    answers: tuple[Answer, ...]
    notes: tuple[str, ...]


def view_analysis(analysis: Any) -> AnalysisView:
    """The view of `Analysis.as_json()`, or of whatever stands in its place."""
    found = analysis if isinstance(analysis, dict) else {}
    rows = tuple(_rows(_list(found, "ingredients"), 0))[:MOST]
    leaves = [row for row in rows if not row.parent]
    return AnalysisView(
        rows=rows,
        parsed=len(leaves),
        known=sum(bool(row.known_as) for row in leaves),
        estimates=_estimates(rows),
        additives=tuple(_text(each, "code") for each in _list(found, "additives") if _text(each, "code")),
        allergens=_names(_list(found, "allergens")),
        answers=tuple(_answers(found)),
        notes=tuple(str(note) for note in _list(found, "notes")),
    )


def printed(text: str | None, words: tuple[str, ...]) -> tuple[Printed, ...]:
    """The label's text in pieces, with `words` (the names of allergens as printed) in bold."""
    if not text:
        return ()
    known = sorted({word for word in words if len(word) > 1}, key=len, reverse=True)
    if not known:
        return (Printed(text, False),)
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, known)) + r")\b", re.IGNORECASE)
    pieces = pattern.split(text)
    return tuple(Printed(piece, bool(place % 2)) for place, piece in enumerate(pieces) if piece)


def _estimates(rows: tuple[IngredientRow, ...]) -> str:
    estimated = [row.estimate for row in rows if row.share is not None]
    if not any(estimated):
        return ""
    return f"{'Shares' if all(estimated) else 'Other shares'} are estimates from the order on the label"


def _rows(ingredients: list[Any], depth: int) -> Iterator[IngredientRow]:
    for item in ingredients:
        if not isinstance(item, dict):
            continue
        children = _list(item, "children") if depth < DEEPEST else []
        share = item.get("share")
        share = float(share) if isinstance(share, int | float) and 0 <= share <= 100 else None
        yield IngredientRow(
            name=_text(item, "name") or "–",
            depth=depth,
            parent=bool(children),
            known_as=_text(item, "known_as"),
            share=share,
            share_text=_per_cent(share),
            estimate=bool(item.get("share_is_estimate")),
            allergens=", ".join(_names(_list(item, "allergens"))),
            what=_what(item),
        )
        yield from _rows(children, depth + 1)


def _listed_allergens(ingredients: list[Any], depth: int) -> Iterator[Any]:
    for item in ingredients:
        yield from _list(item, "allergens")
        if depth < DEEPEST:
            yield from _listed_allergens(_list(item, "children"), depth + 1)


def _what(item: dict[str, Any]) -> str:
    code, function = _text(item, "additive"), _text(item, "function")
    words = []
    if code:
        words.append(f"additive: {code}, {function}" if function else f"additive: {code}")
    elif function:
        words.append(function)
    words += [str(each) for each in _list(item, "processing")]
    if item.get("palm_oil") == "yes":
        words.append("palm oil")
    return ", ".join(words)


def _per_cent(share: float | None) -> str:
    if share is None:
        return "–"
    if 0 < share < 0.1:
        return "< 0.1 %"
    return f"{share:.0f} %" if share >= 2 or share == round(share) else f"{share:.1f} %"


def _answers(found: dict[str, Any]) -> Iterator[Answer]:
    for label, name in (("Vegan", "vegan"), ("Vegetarian", "vegetarian")):
        yield Answer(label, ANSWERS.get(_text(found, name), "not known"))
    palm_oil = {**ANSWERS, "no": "none found", "yes": "contained"}
    yield Answer("Palm oil", palm_oil.get(_text(found, "palm_oil"), "not known"))
    if declared := _names(_list(found, "declared")):
        yield Answer("Allergens declared", ", ".join(declared))
    if listed := _names(list(_listed_allergens(_list(found, "ingredients"), 0))):
        yield Answer("Allergens in the list", ", ".join(listed))
    if traces := _names(_list(found, "traces")):
        yield Answer("May contain", f"{', '.join(traces)} (traces)")
    if mentioned := _names(_list(found, "mentioned")):
        yield Answer("Named, not understood", ", ".join(mentioned))
    if unrecognised := [str(each) for each in _list(found, "unrecognised")]:
        yield Answer("Not recognised", ", ".join(unrecognised))
    source = {"list": "the list that Open Food Facts parsed", "text": "the label's text"}.get(
        _text(found, "source")
    )
    if source:
        yield Answer("Read from", source)


def _list(found: Any, name: str) -> list[Any]:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, list) else []


def _text(found: Any, name: str) -> str:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""


def _names(items: list[Any]) -> tuple[str, ...]:
    """Names of tags, which come as {tag, name} or as plain text such as "en:sesame-seeds"."""
    texts = [
        _text(item, "name") or _text(item, "tag") if isinstance(item, dict) else str(item) for item in items
    ]
    return tuple(dict.fromkeys(tag_name(text) for text in texts if text))


def tag_name(text: str) -> str:
    """The words of a tag: "sesame seeds" for "en:sesame-seeds"."""
    return re.sub(r"^[a-z]{2}:", "", text).replace("-", " ")
