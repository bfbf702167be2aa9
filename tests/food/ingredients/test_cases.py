"""Labels that were once misread, by kind (cases.json), each with what its analysis must say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoils.food.ingredients import Ingredient, analyse
from spoils.food.ingredients.allergens import allergens_in
from spoils.food.openfoodfacts.product import read_product

KINDS = json.loads((Path(__file__).parent / "cases.json").read_text("utf-8"))
CASES = [pytest.param(case, id=case.get("text", "document")) for kind in KINDS for case in kind["cases"]]


def product_of(case: dict[str, Any]) -> dict[str, Any]:
    product = case.get("document") or {"ingredients_text": case["text"]}
    return product | {"allergens_tags": case.get("allergens_tags", [])}


def walk(items: tuple[Ingredient, ...]) -> Iterator[Ingredient]:
    for item in items:
        yield item
        yield from walk(item.children)


@pytest.mark.parametrize("case", CASES)
def test_a_label_is_read_as_a_person_reads_it(case: dict[str, Any]) -> None:
    product = product_of(case)
    analysis = analyse(product)
    by_name = {item.name: item for item in walk(analysis.ingredients)}
    for key in ("allergens", "traces"):
        if key in case:
            assert {one.tag.removeprefix("en:") for one in getattr(analysis, key)} == set(case[key])
    for key in ("vegan", "vegetarian", "palm_oil"):
        assert getattr(analysis, key) == case.get(key, getattr(analysis, key))
    assert len(analysis.ingredients) == case.get("count", len(analysis.ingredients))
    if "additives" in case:
        assert [one.code for one in analysis.additives] == case["additives"]
    assert set(case.get("names", ())) <= set(by_name)
    assert not set(case.get("not_names", ())) & set(by_name)
    for name in case.get("not_additive", ()):
        assert by_name[name].additive is None
    for name, share in case.get("shares", {}).items():
        assert (by_name[name].share, by_name[name].share_is_estimate) == (share, False)
    for name in case.get("no_share", ()):
        assert by_name[name].share_is_estimate
    if "name" in case:
        assert read_product("12345678", {"product": product}).name == case["name"]


@pytest.mark.parametrize("case", [case for case in CASES if "text" in case.values[0]])
def test_no_allergen_that_a_label_names_is_lost(case: dict[str, Any]) -> None:
    analysis = analyse(product_of(case))
    told = {one.tag for one in (*analysis.allergens, *analysis.traces, *analysis.mentioned)}
    assert set(allergens_in(case["text"], though_free=True)) <= told


@pytest.mark.parametrize("case", CASES)
def test_a_diet_is_kept_only_where_every_ingredient_is_known(case: dict[str, Any]) -> None:
    analysis = analyse(product_of(case))
    if analysis.unrecognised:
        assert (analysis.vegan, analysis.vegetarian) != ("yes", "yes")
        assert analysis.palm_oil != "no"
