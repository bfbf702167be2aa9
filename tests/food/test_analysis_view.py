"""The stored analysis as a page shows it, whatever stands in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoils.food.dashboard.analysis_view import Answer, printed, view_analysis
from tests.web.dashboard.scenes import NOODLE_ANALYSIS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(NOODLE_ANALYSIS)), inner),
)


def test_the_tree_is_told_line_by_line() -> None:
    view = view_analysis(NOODLE_ANALYSIS)
    assert [(row.name, row.depth, row.parent, row.share_text) for row in view.rows] == [
        ("Noodle", 0, True, "75 %"),
        ("rice", 1, False, "56 %"),
        ("peanut", 0, False, "< 0.1 %"),
        ("citric acid", 0, False, "–"),
    ]
    assert view.rows[2].allergens == "peanuts"
    assert view.rows[3].what == "additive: E330, acidity regulator"
    assert (view.parsed, view.known) == (3, 3)
    assert view.additives == ("E330",)


def test_estimates_are_called_so() -> None:
    told = {"name": "a", "share": 60.0}
    guessed = {"name": "b", "share": 40.0, "share_is_estimate": True}
    said = [view_analysis({"ingredients": rows}).estimates for rows in ([told], [told, guessed], [guessed])]
    assert said == [
        "",
        "Other shares are estimates from the order on the label",
        "Shares are estimates from the order on the label",
    ]


def test_the_answers_are_words() -> None:
    milk, celery = {"tag": "en:milk", "name": "milk"}, {"tag": "en:celery", "name": "celery"}
    answers = view_analysis({**NOODLE_ANALYSIS, "mentioned": [milk], "declared": [celery]}).answers
    assert Answer("Palm oil", "none found") in answers
    assert Answer("May contain", "sesame seeds (traces)") in answers
    assert Answer("Not recognised", "zzyzx") in answers
    assert Answer("Named, not understood", "milk") in answers
    assert Answer("Allergens declared", "celery") in answers
    assert Answer("Allergens in the list", "peanuts") in answers


@pytest.mark.parametrize(
    "analysis", [None, [], "text", 7, {}, {"ingredients": None}, {"ingredients": [None, 1]}]
)
def test_what_is_missing_is_left_out(analysis: object) -> None:
    view = view_analysis(analysis)
    assert view.rows == ()
    assert Answer("Vegan", "not known") in view.answers


@given(JSON)
def test_any_json_is_taken(analysis: object) -> None:
    view_analysis(analysis)


def test_an_endless_nest_ends() -> None:
    nest: dict[str, object] = {"name": "core"}
    for _ in range(200):
        nest = {"name": "shell", "children": [nest]}
    assert len(view_analysis({"ingredients": [nest]}).rows) < 20


def test_allergens_are_bold_where_they_are_printed() -> None:
    pieces = printed("Peanut, sugar, soy protein.", ("peanut", "soy protein", "a"))
    assert [(piece.text, piece.bold) for piece in pieces] == [
        ("Peanut", True),
        (", sugar, ", False),
        ("soy protein", True),
        (".", False),
    ]


def test_a_label_without_allergens_is_one_piece() -> None:
    (only,) = printed("rice (100%)", ())
    assert (only.text, only.bold) == ("rice (100%)", False)
    assert printed(None, ("rice",)) == ()
