"""What the analysis of a whole product says, and that it says no more than the data."""

import json

import pytest

from spoils.food.ingredients import analyse
from tests.food.ingredients.outlines import written

NOODLES = (
    "Noodle: rice, water. seasoning packet: peanut, sugar, hydrolyzed soy protein, spice (including paprika), "
    "citric acid, extractives of paprika (color), silicon dioxide (added to make free flowing), yeast extract."
)


def test_a_product_that_nobody_parsed_is_read_from_its_label() -> None:
    analysis = analyse(
        {"ingredients_text": NOODLES, "lang": "en", "allergens_tags": [], "traces": "en:peanuts"}
    )
    assert (analysis.source, analysis.language, analysis.text) == ("text", "en", NOODLES)
    assert written(analysis.ingredients) == (
        "Noodle [rice, water], seasoning packet [peanut, sugar, hydrolyzed soy protein, spice [paprika], "
        "citric acid<E330>, extractives of paprika<E160c>, silicon dioxide<E551>, yeast extract]"
    )
    assert [(one.code, one.name, one.function) for one in analysis.additives] == [
        ("E330", "citric acid", "acidity regulator"),
        ("E160c", "paprika extract", "colour"),
        ("E551", "silicon dioxide", "anti-caking agent"),
    ]
    assert [one.name for one in analysis.allergens] == ["peanuts", "soybeans"]
    assert [one.tag for one in analysis.traces] == ["en:peanuts"]
    assert (analysis.vegan, analysis.vegetarian, analysis.palm_oil) == ("yes", "yes", "no")
    assert analysis.unrecognised == ()
    assert analysis.notes == (
        "Open Food Facts has not parsed this list, so the text of the label was read.",
        "Shares are estimates from the order on the label.",
        "Named in the list, but not declared as an allergen: peanuts, soybeans.",
    )


@pytest.mark.parametrize(
    "product", [{}, {"ingredients_text": ""}, {"ingredients_text": None, "ingredients": []}]
)
def test_a_product_without_ingredients_says_so_and_nothing_else(product: dict[str, object]) -> None:
    analysis = analyse(product)
    assert analysis.source == "none"
    assert (analysis.vegan, analysis.vegetarian, analysis.palm_oil) == ("unknown", "unknown", "unknown")
    assert analysis.notes == ("No ingredients are stated.",)


def test_the_verdicts_of_the_data_go_before_ours() -> None:
    tags = ["en:non-vegan", "en:maybe-vegetarian", "en:may-contain-palm-oil"]
    analysis = analyse({"ingredients_text": "water, salt", "ingredients_analysis_tags": tags})
    assert (analysis.vegan, analysis.vegetarian, analysis.palm_oil) == ("no", "maybe", "maybe")


def test_a_list_parsed_in_the_wrong_language_gives_way_to_the_label() -> None:
    parsed = [
        {"text": word, "id": f"en:{word}", "is_in_taxonomy": 0} for word in ("com orgulho", "sal", "agua")
    ]
    product = {
        "ingredients": parsed,
        "ingredients_text": "Com orgulho. Ingredientes: água, sal",
        "ingredients_analysis_tags": ["en:vegan-status-unknown", "en:palm-oil-content-unknown"],
    }
    analysis = analyse(product)
    assert analysis.source == "text"
    assert [item.name for item in analysis.ingredients] == ["água", "sal"]
    assert analysis.vegan == "yes"
    assert "could make little of this list" in analysis.notes[0]


def test_additives_are_the_lists_then_the_labels_then_the_tags_and_a_group_gives_way_to_its_member() -> None:
    product = {
        "ingredients": [{"text": "citrate trisodique", "id": "en:e331iii", "is_in_taxonomy": 1}],
        "ingredients_text": "citrate trisodique, colorant : E150d",
        "additives_tags": ["en:e331", "en:e150d", "en:e950", "en:e9999", 7],
    }
    assert [one.code for one in analyse(product).additives] == ["E331iii", "E150d", "E950"]


def test_allergens_and_traces_keep_their_tags_and_what_is_none_is_left_out() -> None:
    product = {
        "ingredients_text": "water",
        "allergens_tags": ["en:milk", "fr:e150d", "en:none", "en:kiwi", "nonsense", 5],
        "traces_tags": ["en:en-nuts", "en:fr-phenylalanine"],
    }
    analysis = analyse(product)
    assert [(one.tag, one.name) for one in analysis.allergens] == [("en:milk", "milk"), ("en:kiwi", "kiwi")]
    assert [(one.tag, one.name) for one in analysis.traces] == [
        ("en:nuts", "nuts"),
        ("en:phenylalanine", "phenylalanine"),
    ]


def test_the_text_in_the_products_own_language_stands_in_for_a_missing_one() -> None:
    analysis = analyse(
        {"lc": "fr", "ingredients_text": "", "ingredients_text_fr": "sucre", "ingredients_text_de": "Salz"}
    )
    assert analysis.text == "sucre"


def test_what_the_maker_declares_the_list_says_and_the_text_only_mentions_stay_apart() -> None:
    analysis = analyse(
        {
            "allergens_tags": ["en:celery"],
            "ingredients_text": "sugar, wheat flour. Contains: milk. Store at 4 degrees, serve with mustard.",
        }
    )
    assert [one.name for one in analysis.allergens] == ["celery", "milk", "gluten"]
    assert [one.name for one in analysis.declared] == ["celery", "milk"]
    assert [one.name for item in analysis.ingredients for one in item.allergens] == ["gluten"]
    assert [one.name for one in analysis.mentioned] == ["mustard"]
    assert "Named in the list, but not declared as an allergen: gluten." in analysis.notes


def test_an_analysis_is_plain_json_and_comes_back_the_same() -> None:
    told = analyse({"ingredients_text": NOODLES}).as_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["ingredients"][0]["children"][0]["name"] == "rice"
    assert set(told) == {
        "source", "language", "text", "ingredients", "additives", "allergens", "declared", "traces", "mentioned", "vegan",
        "vegetarian", "palm_oil", "unrecognised", "notes",
    }  # fmt: skip
