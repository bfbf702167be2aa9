"""Plain sentences of what the data does not tell, or tells only in a roundabout way."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spoils.food.ingredients.model import Ingredient, Source

_MAX_STATEMENTS = 5
_LONGEST_STATEMENT = 200


def of(
    *,
    source: Source,
    listed: bool,
    ingredients: Sequence[Ingredient],
    unrecognised: int,
    unknown_upstream: Any,
    undeclared: Sequence[str],
    mentioned: Sequence[str],
    verdicts: Mapping[str, str],
    depends_on: Mapping[str, Sequence[str]],
    statements: Sequence[str],
    whole: bool,
) -> Iterator[str]:
    """Yield the sentences that hold for this product."""
    if source == "none":
        yield "No ingredients are stated."
        return
    if source == "text" and listed:
        yield "Open Food Facts could make little of this list, so the text of the label was read instead."
    elif source == "text":
        yield "Open Food Facts has not parsed this list, so the text of the label was read."
    if not whole:
        yield "The text is very long: only its beginning was read."
    yield from _about_shares(ingredients)
    if unrecognised:
        yield f"{unrecognised} of {_counted(len(ingredients), 'ingredient')} could not be recognised."
    elif source == "list" and isinstance(unknown_upstream, int | float) and 0 < unknown_upstream < 1000:
        yield f"Open Food Facts itself does not know {_counted(int(unknown_upstream), 'name')} of this list."
    if undeclared:
        yield f"Named in the list, but not declared as an allergen: {', '.join(undeclared)}."
    if mentioned:
        yield f"The text names {', '.join(mentioned)} where it was not understood: read the label."
    yield from _about_verdicts(verdicts, depends_on)
    for statement in statements[:_MAX_STATEMENTS]:
        yield f'The label also says: "{statement[:_LONGEST_STATEMENT]}".'


def _about_shares(ingredients: Sequence[Ingredient]) -> Iterator[str]:
    estimates = any(item.share_is_estimate for item in ingredients)
    if estimates and any(item.share is not None and not item.share_is_estimate for item in ingredients):
        yield "Shares that the label does not tell are estimates from its order."
    elif estimates:
        yield "Shares are estimates from the order on the label."
    elif not any(item.share is not None for item in ingredients):
        yield "No shares are stated."


def _about_verdicts(verdicts: Mapping[str, str], depends_on: Mapping[str, Sequence[str]]) -> Iterator[str]:
    diets = [words for words in ("vegan", "vegetarian") if verdicts[words] == "unknown"]
    questions = [f"is {' or '.join(diets)}"] if diets else []
    if verdicts["palm_oil"] == "unknown":
        questions.append("contains palm oil")
    if questions:
        yield f"Whether it {' or '.join(questions)} is unknown from this data."
    for matter, names in depends_on.items():
        if names:
            question = "contains palm oil" if matter == "palm_oil" else f"is {matter}"
            yield f"Whether it {question} depends on: {', '.join(dict.fromkeys(names))[:_LONGEST_STATEMENT]}."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
