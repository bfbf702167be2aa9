"""How much of each: what the label says, and an estimate from the order for the rest.

A label lists its ingredients from the most to the least. So each is at most the one before it and
at least a fair part of what is left; the middle of the two is the estimate, as Open Food Facts does it.
"""

import re
from dataclasses import replace

from spoils.food.ingredients.model import Ingredient
from spoils.food.ingredients.outline import Entry
from spoils.food.ingredients.vocabulary import alternatives

_PERCENT = re.compile(
    rf"(?P<about>(?:(?<!\w)(?:{alternatives('about')})\.?|[<>≤≥~±])\s?)?(?P<from>[0-9]{{1,3}}(?:[.,][0-9]{{1,4}})?\s?[-–]\s?)?"
    rf"(?P<number>[0-9]{{1,3}}(?:[.,][0-9]{{1,6}})?)\s?[%٪％](?P<after>\s?(?:{alternatives('about')})\.?)?",
    re.IGNORECASE,
)
_WEIGHT = re.compile(r"(?<![\w.,])([0-9]{1,5}(?:[.,][0-9]{1,3})?)\s?(k?g)(?![\w/])", re.IGNORECASE)
# Labels round their figures.
_SLACK = 0.5
_LEAST = 0.01


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
            item = replace(item, share=max(round(share, 2), _LEAST), share_is_estimate=True)
        if item.children and item.share is not None:
            children = item.children if item.share_is_estimate else _of_the_whole(item.children, item.share)
            item = replace(item, children=estimated(children, item.share))
        result.append(item)
    return tuple(result)


def _of_the_whole(parts: tuple[Ingredient, ...], whole: float) -> tuple[Ingredient, ...]:
    """Parts that add up to more than their whole are shares of it: 40 % of `fruits 50 %` are 20."""
    if sum(part.share or 0.0 for part in parts) <= whole + _SLACK:
        return parts
    return tuple(
        part if part.share is None else replace(part, share=round(part.share * whole / 100, 2))
        for part in parts
    )


def weights_as_shares(entries: list[Entry]) -> None:
    """Where every ingredient has its weight, write each as a share of their sum."""
    weighed = [(place, found) for entry in entries for place, found in _weight(entry)]
    if len(entries) < 2 or len(weighed) != len(entries):
        return
    grams = [_grams(found) for _, found in weighed]
    for (place, found), weight in zip(weighed, grams, strict=True):
        share = 100 * weight / (sum(grams) or 1)
        place.text = f"{place.text[: found.start()]}{share:.2f}%{place.text[found.end() :]}"


def _weight(entry: Entry) -> list[tuple[Entry, "re.Match[str]"]]:
    """The weight in the text of an entry, or alone in its brackets."""
    places = [entry, *entry.children] if len(entry.children) < 2 else [entry]
    return [(place, found) for place in places if (found := _WEIGHT.search(place.text))][:1]


def _grams(found: "re.Match[str]") -> float:
    return float(found[1].replace(",", ".")) * (1000 if found[2].lower() == "kg" else 1)


def _estimate(stated: list[float | None], total: float) -> list[float | None]:
    stated_from = _sums([share or 0.0 for share in stated])
    if stated_from[0] > total + _SLACK:
        return stated
    most_of = _most(stated, total - stated_from[0])
    most_from, next_stated = _sums(most_of), _next_stated(stated)
    result: list[float | None] = []
    left, before = total, total
    unstated = sum(share is None for share in stated)
    for at, share in enumerate(stated):
        if share is None:
            free = left - stated_from[at + 1]
            most = min(before, most_of[at], free)
            least = max(free / unstated, next_stated[at], left - most_from[at + 1])
            if least > most + _SLACK:
                return stated
            share = most if unstated == 1 else (min(least, most) + most) / 2
            unstated -= 1
        result.append(share)
        left, before = left - share, share
    return result


def _most(stated: list[float | None], free: float) -> list[float]:
    """The most that each can be: what is stated, or no more than the one before it."""
    result, before = [], float("inf")
    for share in stated:
        before = min(before, free) if share is None else share
        result.append(before)
    return result


def _sums(shares: list[float]) -> list[float]:
    """For each place the sum from there to the end, and 0 behind the end."""
    result = [0.0] * (len(shares) + 1)
    for at in range(len(shares) - 1, -1, -1):
        result[at] = result[at + 1] + shares[at]
    return result


def _next_stated(stated: list[float | None]) -> list[float]:
    """For each place the largest share that is stated behind it."""
    result, following = [0.0] * len(stated), 0.0
    for at in range(len(stated) - 1, -1, -1):
        result[at] = following
        following = max(following, stated[at] or 0.0)
    return result
