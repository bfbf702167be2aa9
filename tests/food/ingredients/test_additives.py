"""The table of additives and the names that lead to it."""

import re

import pytest

from spoils.food.ingredients.recognise import additive_code, additive_entry, base_of, code_of_tag
from spoils.food.ingredients.vocabulary import ADDITIVE_NAMES, ADDITIVES, FUNCTIONS, look_up


def test_every_code_of_the_table_is_read_as_itself() -> None:
    for code in ADDITIVES:
        assert re.fullmatch(r"E[0-9]{3,4}[a-h]?", code)
        assert additive_code(code) == code
        assert additive_code(code.lower().replace("e", "e-")) == code
        assert code_of_tag(f"en:{code.lower()}") == code


def test_every_function_of_the_table_is_one_that_labels_name() -> None:
    assert {function for _, function in ADDITIVES.values()} - set(FUNCTIONS.values()) == {"colour stabiliser"}


def test_every_name_leads_to_a_code_of_the_table_and_to_no_plain_food() -> None:
    for name, code in ADDITIVE_NAMES.items():
        assert base_of(code) in ADDITIVES, name
    foods = ["sugar", "salt", "water", "milk", "starch", "gelatine", "caffeine", "soda", "silver", "guar"]
    assert [food for food in foods if food in ADDITIVE_NAMES] == []
    assert look_up("sugar") is not None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("lecithin", "E322"), ("Lécithines", "E322"), ("SOJALECITHIN", "E322"), ("лецитин", "E322"),
        ("Zitronensäure", "E330"), ("acide citrique", "E330"), ("ácido cítrico", "E330"), ("citric acid", "E330"),
        ("natriumhydrogencarbonat", "E500ii"), ("mono- and diglycerides of fatty acids", "E471"),
        ("Mono- und Diglyceride von Speisefettsäuren", "E471"), ("vitamin C", None), ("acésulfame-K", "E950"),
        ("sulphite ammonia caramel", "E150d"), ("beta-carotene", "E160a"), ("water", None), ("E12", None), ("", None),
    ],
)  # fmt: skip
def test_an_additive_is_known_by_its_names_in_several_languages(name: str, code: str | None) -> None:
    assert additive_code(name) == code


@pytest.mark.parametrize(
    ("code", "entry"),
    [
        ("E330", ("citric acid", "acidity regulator")),
        ("E322i", ("lecithins", "emulsifier")),
        ("E331iii", ("sodium citrates", "acidity regulator")),
        ("E160c", ("paprika extract", "colour")),
        ("E551", ("silicon dioxide", "anti-caking agent")),
        ("E9999", ("E9999", None)),
    ],
)
def test_a_number_without_an_entry_of_its_own_is_told_under_its_group(
    code: str, entry: tuple[str, str | None]
) -> None:
    assert additive_entry(code) == entry
