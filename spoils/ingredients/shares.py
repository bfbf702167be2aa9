"""How much of each: what the label says, and an estimate from the order for the rest.

A label lists its ingredients from the most to the least. So each is at most the one before it and
at least a fair part of what is left; the middle of the two is the estimate, as Open Food Facts does it.
"""

import re
from dataclasses import replace

from spoils.ingredients.model import Ingredient

_MORE_OR_LESS = r"min(?:imum|imo|destens|\.)?|mind\.|max(?:imum|\.)?|at least|au moins|mindestens|almeno|al menos|less than|moins de|weniger als|unter|meno del|menos de|ca\.?|env\.?|environ|about|circa"
_PERCENT = re.compile(
    rf"(?P<about>(?:\b(?:{_MORE_OR_LESS})|[<>≤≥~±])\s?)?(?P<from>[0-9]{{1,3}}(?:[.,][0-9]{{1,4}})?\s?[-–]\s?)?"
    r"(?P<number>[0-9]{1,3}(?:[.,][0-9]{1,6})?)\s?[%٪％](?P<after>\s?(?:min|max)(?:imum)?\b\.?)?",
    re.IGNORECASE,
)


def take_percent(text: str) -> tuple[str, float | None, bool]:
    """Split `sugar 12,5 %` into its name, 12.5 and whether the label itself says "about"."""
    found = _PERCENT.search(text)
    if not found:
        return text, None, False
    share = float(found["number"].replace(",", "."))
    rest = " ".join(_PERCENT.sub(" ", text).split())
    about = bool(found["about"] or found["from"] or found["after"])
    return rest, share if share <= 100 else None, about


def estimated(ingredients: tuple[Ingredient, ...], total: float = 100.0) -> tuple[Ingredient, ...]:
    """Fill in the shares that the label does not tell; where its figures contradict this, none."""
    shares = _estimate([item.share for item in ingredients], total)
    result = []
    for item, share in zip(ingredients, shares, strict=True):
        if item.share is None and share is not None:
            item = replace(item, share=round(share, 2), share_is_estimate=True)
        if item.children and item.share is not None:
            item = replace(item, children=estimated(item.children, item.share))
        result.append(item)
    return tuple(result)


def _estimate(told: list[float | None], total: float) -> list[float | None]:
    # The least that everything from each place on must leave for what is told further down.
    still_told = [0.0] * (len(told) + 1)
    for at in range(len(told) - 1, -1, -1):
        still_told[at] = still_told[at + 1] + (told[at] or 0.0)
    if still_told[0] > total + 0.5:
        return told
    result: list[float | None] = []
    left, before = total, total
    next_told = _next_told(told)
    for at, share in enumerate(told):
        if share is None:
            most = min(before, left - still_told[at + 1])
            untold = sum(later is None for later in told[at:])
            least = max((left - still_told[at + 1]) / untold, next_told[at])
            if least > most + 0.5:
                return told
            share = most if untold == 1 else (min(least, most) + most) / 2
        result.append(share)
        left, before = left - share, share
    return result


def _next_told(told: list[float | None]) -> list[float]:
    result, following = [0.0] * len(told), 0.0
    for at in range(len(told) - 1, -1, -1):
        result[at] = following
        if told[at] is not None:
            following = max(following, told[at] or 0.0)
    return result
