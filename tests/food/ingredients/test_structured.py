"""The list that Open Food Facts parsed, nested or flat, and what is odd in it."""

from typing import Any

import pytest

from spoils.food.ingredients import analyse
from tests.food.ingredients.outlines import written


def item(text: str, id: str, **fields: Any) -> dict[str, Any]:
    return {"text": text, "id": id, "is_in_taxonomy": 1, **fields}


NESTED = [
    item("Farine de _blé_", "en:wheat-flour", percent=60, percent_estimate=60, vegan="yes", vegetarian="yes"),
    item("émulsifiant", "en:emulsifier", percent_estimate=30, ingredients=[
        item("lécithine", "en:e322", percent_estimate=30.000000001, vegan="maybe", vegetarian="maybe"),
    ]),
    item("huile", "en:palm-oil", percent_estimate=10, vegan="yes", vegetarian="yes", from_palm_oil="yes"),
]  # fmt: skip
FLAT = [
    item("eau", "en:water", percent_estimate=70),
    item("colorant", "en:colour", percent_estimate=20, has_sub_ingredients="yes"),
    item("acidifiant", "en:acid", percent_estimate=10, has_sub_ingredients="yes"),
    item("e150d", "en:e150d", percent_estimate=20),
    item("acide citrique", "en:e330", percent_estimate=7.5),
    item("acide lactique", "en:e270", percent_estimate=2.5),
]


def test_the_parsed_list_is_used_with_its_nesting_shares_and_answers() -> None:
    analysis = analyse({"ingredients": NESTED, "ingredients_text": "something else", "lc": "fr"})
    assert (analysis.source, analysis.language) == ("list", "fr")
    flour, emulsifier, oil = analysis.ingredients
    assert (flour.name, flour.known_as, flour.share, flour.share_is_estimate) == (
        "Farine de blé", "en:wheat-flour", 60.0, False,
    )  # fmt: skip
    assert (flour.vegan, flour.vegetarian, flour.palm_oil) == ("yes", "yes", None)
    assert [one.name for one in flour.allergens] == ["gluten"]
    assert emulsifier.function == "emulsifier"
    [lecithin] = emulsifier.children
    assert (lecithin.additive, lecithin.share, lecithin.share_is_estimate) == ("E322", 30.0, True)
    assert oil.palm_oil == "yes"


def test_children_stored_behind_their_parents_are_put_back_under_them() -> None:
    analysis = analyse({"ingredients": FLAT})
    assert written(analysis.ingredients) == (
        "eau, colorant [e150d<E150d>], acidifiant [acide citrique<E330>, acide lactique<E270>]"
    )


def test_a_flat_list_that_its_shares_do_not_explain_stays_flat() -> None:
    odd = [one if "has_sub_ingredients" in one else {**one, "percent_estimate": 33} for one in FLAT]
    assert len(analyse({"ingredients": odd}).ingredients) == len(FLAT)


def test_an_id_made_of_an_unknown_name_is_no_knowledge() -> None:
    made_up = item("xyzzy", "en:xyzzy") | {"is_in_taxonomy": 0}
    without = {"text": "riz", "id": "en:rice"}
    analysis = analyse({"ingredients": [made_up, without, item("eau", "en:water")]})
    assert [one.known_as for one in analysis.ingredients] == [None, "en:rice", "en:water"]
    assert analysis.unrecognised == ("xyzzy",)
    assert "1 of 3 ingredients could not be recognised." in analysis.notes


def test_an_additive_that_the_list_did_not_know_is_found_by_its_name() -> None:
    parsed = [
        item("corante caramelo e150d", "en:corante-caramelo-e150d", is_in_taxonomy=0),
        item("stabilizing guar gum", "en:stabilizing-guar-gum", is_in_taxonomy=0),
        item(
            "Acidity Regulator", "en:acidity-regulator", ingredients=[item("338", "en:338", is_in_taxonomy=0)]
        ),
    ]
    analysis = analyse({"ingredients": parsed})
    assert [(one.code, one.function) for one in analysis.additives] == [
        ("E150d", "colour"),
        ("E412", "stabiliser"),
        ("E338", "acidity regulator"),
    ]
    assert analysis.unrecognised == ()


def test_what_was_done_to_an_ingredient_is_told() -> None:
    [corn] = analyse(
        {"ingredients": [item("maïs", "en:corn", processing="en:flour,en:fermented")]}
    ).ingredients
    assert corn.processing == ("flour", "fermented")


@pytest.mark.parametrize("answer", ["en:yes", "yes"])
def test_an_answer_may_carry_a_language(answer: str) -> None:
    [one] = analyse({"ingredients": [item("x", "en:rice", vegan=answer)]}).ingredients
    assert one.vegan == "yes"


@pytest.mark.parametrize(
    "odd",
    [
        None,
        7,
        "text",
        {},
        [None, 7, "x", []],
        [{}],
        [{"text": 5}],
        [{"text": ""}],
        [{"text": None, "id": []}],
    ],
)
def test_a_list_of_odd_types_gives_nothing(odd: Any) -> None:
    analysis = analyse({"ingredients": odd})
    assert (analysis.source, analysis.ingredients) == ("none", ())


@pytest.mark.parametrize("percent", [True, "x", -1, 101, [], None, float("nan"), 10**400])
def test_a_share_of_an_odd_type_is_none(percent: Any) -> None:
    [one] = analyse({"ingredients": [item("x", "en:rice", percent=percent)]}).ingredients
    assert one.share is None


def test_a_list_nested_without_end_is_cut() -> None:
    deep = item("x", "en:rice")
    for _ in range(500):
        deep = item("x", "en:rice", ingredients=[deep])
    depth, at = 1, analyse({"ingredients": [deep]}).ingredients[0]
    while at.children:
        depth, at = depth + 1, at.children[0]
    assert depth == 8
