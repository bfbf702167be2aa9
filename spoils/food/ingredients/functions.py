"""What an additive is for, as labels say it: `Säuerungsmittel`, `colorant`, `emulsifiers`."""

from spoils.food.ingredients.normalise import fold
from spoils.food.ingredients.vocabulary import FUNCTIONS

_LONGEST = max(word.count(" ") + 1 for word in FUNCTIONS)
# What a label calls these overlaps: citric acid stands under either, agar under any of the three.
_FAMILIES = (
    {"acid", "acidity regulator", "sequestrant"},
    {"thickener", "gelling agent", "stabiliser", "emulsifier", "bulking agent", "humectant", "carrier", "emulsifying salt"},
    {"raising agent", "acidity regulator", "stabiliser"},
    {"preservative", "antioxidant", "acidity regulator", "acid"},
    {"bulking agent", "sweetener", "humectant"},
)  # fmt: skip


def function_of(name: str) -> str | None:
    """The function that this name is, such as `emulsifier` for `Emulgatoren`; None for anything else."""
    return FUNCTIONS.get(fold(name))


def split_function(name: str) -> tuple[str, str] | None:
    """Cut `Farbstoff E150d` in two; None where the name does not begin with a function and go on."""
    words = name.split()
    for count in range(min(_LONGEST, len(words) - 1), 0, -1):
        head = " ".join(words[:count])
        if fold(head) in FUNCTIONS:
            return head, " ".join(words[count:])
    return None


def akin(one: str, other: str) -> bool:
    """Whether an additive of the one function may stand under the other on a label."""
    return one == other or any(one in family and other in family for family in _FAMILIES)
