"""Ingredients written in one line, so that a test can say what it expects."""

from collections.abc import Iterable

from spoils.food.ingredients import Ingredient, analyse


def outline(text: str) -> str:
    """What is read of a label: `name<E-number>/function [its parts]`."""
    return written(analyse({"ingredients_text": text}).ingredients)


def written(ingredients: Iterable[Ingredient]) -> str:
    """Write a tree of ingredients in one line."""
    return ", ".join(_one(item) for item in ingredients)


def _one(item: Ingredient) -> str:
    code = f"<{item.additive}>" if item.additive else ""
    children = f" [{written(item.children)}]" if item.children else ""
    return f"{item.name}{code}{children}"
