"""Whatever a product holds, its analysis ends soon, stays small and does not raise."""

import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoils.food.ingredients import Analysis, Ingredient, analyse
from spoils.food.ingredients.shares import estimated

PIECES = st.sampled_from(
    [
        "sugar", "E330", "E-322i", "338", "12,5 %", "<2%", "min. 20%", "(", ")", "[", "]", "{", "}", ",", ";", ":", ".", " ",
        "*", "_", "-", "emulsifier", "Farbstoff", " and ", " e ", "including ", "contains ", "May contain ", "kann ", "enthalten",
        "&amp;", "&#x0;", "&#99999999999;", "<b>", "</b>", "\n", "\x00", "\ud800", "Е", "،", "、", "*organic", "Ingredients:", "g/100g",
    ]
)  # fmt: skip
LABELS = st.lists(PIECES | st.text(max_size=6), max_size=60).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | LABELS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)
ITEM_FIELDS = st.sampled_from(
    ["text", "id", "is_in_taxonomy", "percent", "percent_estimate", "vegan", "vegetarian", "from_palm_oil",
     "processing", "has_sub_ingredients", "ingredients"]
)  # fmt: skip
ITEMS = st.recursive(
    st.dictionaries(ITEM_FIELDS, JSON, max_size=6),
    lambda inner: st.fixed_dictionaries(
        {"text": LABELS, "id": LABELS, "ingredients": st.lists(inner, max_size=4)}
    ),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    ["ingredients_text", "ingredients_text_fr", "lc", "lang", "ingredients_lc", "allergens_tags", "traces_tags", "traces",
     "additives_tags", "ingredients_analysis_tags", "unknown_ingredients_n", "ingredients"]
)  # fmt: skip


def check(analysis: Analysis) -> None:
    every = list(walk(analysis.ingredients, 1))
    assert len(every) <= 1500
    for depth, item in every:
        assert depth <= 20
        assert 0 < len(item.name) <= 200
        assert item.share is None or 0 <= item.share <= 100
        assert {item.vegan, item.vegetarian, item.palm_oil} <= {"yes", "no", "maybe", None}
    assert {analysis.vegan, analysis.vegetarian, analysis.palm_oil} <= {"yes", "no", "maybe", "unknown"}
    assert len(analysis.notes) <= 15
    json.dumps(analysis.as_json(), allow_nan=False)


def walk(items: Iterable[Ingredient], depth: int) -> Iterable[tuple[int, Ingredient]]:
    for item in items:
        yield depth, item
        yield from walk(item.children, depth + 1)


@settings(deadline=2000)
@given(LABELS)
def test_any_label_is_read(text: str) -> None:
    check(analyse({"ingredients_text": text}))


def test_a_numeric_entity_of_thousands_of_digits_is_read() -> None:
    text = f"sugar&#{'9' * 5000};, salt"
    assert [item.name for item in analyse({"ingredients_text": text}).ingredients] == ["sugar", "salt"]


@settings(deadline=2000)
@given(st.lists(ITEMS, max_size=5), LABELS)
def test_any_list_is_read(items: list[Any], text: str) -> None:
    check(analyse({"ingredients": items, "ingredients_text": text}))


@settings(deadline=2000)
@given(st.dictionaries(FIELDS, JSON, max_size=8))
def test_fields_of_any_type_are_read(product: dict[str, Any]) -> None:
    check(analyse(product))


@settings(deadline=2000)
@given(st.lists(st.none() | st.floats(0, 100), max_size=12))
def test_estimated_shares_stay_within_the_whole_and_leave_what_is_told_alone(
    told: list[float | None],
) -> None:
    result = estimated(tuple(Ingredient(name="x", share=share) for share in told))
    for before, after in zip(told, result, strict=True):
        assert (
            after.share == before if before is not None else (after.share is None or 0 <= after.share <= 100)
        )
        assert after.share_is_estimate == (before is None and after.share is not None)


@settings(deadline=2000)
@given(st.integers(1, 40))
def test_with_nothing_told_the_estimates_fall_and_fill_the_whole(count: int) -> None:
    shares = [item.share or 0 for item in estimated(tuple(Ingredient(name="x") for _ in range(count)))]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize(
    "piece",
    [
        "(", ")", "a,", "a:", "a;", "E", "9,", "_", "<a", "&#", "&#9", "&amp;", "kann ", "made in ", "a (b ", ".", "* ", "*a ",
        "1-", "12 %", "contains ", "Contains a ", " e ", "and ", "x", "emulsifier: ", "emulsifier: E322, ", "including ",
        "für aus ", "\u0301", "\ufdfa", "butter beans ", "(a) ", "[(", "a.b", "\ud800",
    ],
)  # fmt: skip
def test_a_label_made_to_be_slow_is_not(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.thread_time()
    check(analyse({"ingredients_text": text, "ingredients": [{"text": text, "id": text}]}))
    assert time.thread_time() - started < 2
