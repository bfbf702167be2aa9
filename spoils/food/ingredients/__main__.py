"""`bin/label "text…"`: what is read of the text of a label, as a tree."""

import sys
from collections.abc import Iterator

from spoils.food.ingredients.analysis import analyse
from spoils.food.ingredients.model import Analysis, Ingredient


def tree(ingredients: tuple[Ingredient, ...], indent: str = "") -> Iterator[str]:
    """One line for each ingredient, its parts below it."""
    for item in ingredients:
        share = "" if item.share is None else f"{'~' if item.share_is_estimate else ''}{item.share:g} %"
        allergens = ", ".join(one.name for one in item.allergens)
        told = [item.known_as or "not recognised", share, item.additive, item.function]
        told.append(f"allergen: {allergens}" if allergens else "")
        yield f"{indent}{item.name}  ({', '.join(filter(None, told))})"
        yield from tree(item.children, indent + "  ")


def facts(analysis: Analysis) -> Iterator[str]:
    """What the analysis says of the whole."""
    for label in ("allergens", "declared", "traces", "mentioned"):
        yield f"{label}: {', '.join(one.name for one in getattr(analysis, label)) or '–'}"
    yield f"vegan: {analysis.vegan}, vegetarian: {analysis.vegetarian}, palm oil: {analysis.palm_oil}"
    yield from analysis.notes


def main(arguments: list[str]) -> int:
    """Print the reading of the first argument, or of standard input."""
    text = arguments[0] if arguments else sys.stdin.read()
    analysis = analyse({"ingredients_text": text})
    print("\n".join([*tree(analysis.ingredients), "", *facts(analysis)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
