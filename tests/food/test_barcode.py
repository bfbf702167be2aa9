"""What a barcode is, and what it is not."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from spoils.food.barcode import Barcode, is_barcode, normalise, spellings

BARCODE = TypeAdapter(Barcode)


def sentence(value: object) -> str:
    with pytest.raises(ValidationError) as refused:
        BARCODE.validate_python(value)
    return refused.value.errors()[0]["msg"]


@pytest.mark.parametrize("code", ["12345678", "737628064502", "0737628064502", "12345678901234"])
def test_eight_to_fourteen_digits_are_a_barcode_kept_as_given(code: str) -> None:
    assert BARCODE.validate_python(code) == code
    assert re.fullmatch(BARCODE.json_schema()["pattern"], code)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("12345", "A barcode has 8 to 14 digits; this has 5."),
        ("123456789012345", "A barcode has 8 to 14 digits; this has 15."),
        ("", "A barcode has 8 to 14 digits; this is empty."),
        ("12345Z78", 'A barcode has digits only. The 6th character is "Z".'),
        ("1234567²", 'A barcode has digits only. The 8th character is "²".'),
        ("٣٣٣٣٣٣٣٣", 'A barcode has digits only. The 1st character is "٣".'),
        ("12345678\n", 'A barcode has digits only. The 9th character is "\\n".'),
        ("12345678\ud800", 'A barcode has digits only. The 9th character is "\\ud800".'),
        ("12345678901 ", 'A barcode has digits only. The 12th character is " ".'),
        (" 2345678", 'A barcode has digits only. The 1st character is " ".'),
        ("../12345678", 'A barcode has digits only. The 1st character is ".".'),
        ("12%2e345678", 'A barcode has digits only. The 3rd character is "%".'),
        ("@host12345678", 'A barcode has digits only. The 1st character is "@".'),
        ("12345678\x00", 'A barcode has digits only. The 9th character is "\\u0000".'),
        (737628064502, 'A barcode is text in quotes, such as "737628064502".'),
        (True, 'A barcode is text in quotes, such as "737628064502".'),
        (None, 'A barcode is text in quotes, such as "737628064502".'),
        (b"737628064502", 'A barcode is text in quotes, such as "737628064502".'),
    ],
)
def test_anything_else_is_refused_with_a_sentence(value: object, told: str) -> None:
    assert sentence(value) == told
    assert not is_barcode(value)


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("737628064502", "0737628064502"),
        ("0737628064502", "0737628064502"),
        ("00737628064502", "0737628064502"),
        ("54491472", "54491472"),
        ("0000054491472", "54491472"),
        ("00001234", "00001234"),
        ("00000000", "00000000"),
        ("123456789", "0000123456789"),
        ("3029330003533", "3029330003533"),
        ("12345678901234", "12345678901234"),
    ],
)
def test_a_barcode_is_written_without_leading_zeros_then_padded_to_8_or_13(code: str, written: str) -> None:
    assert normalise(code) == written


@settings(deadline=2000)
@given(st.from_regex(r"[0-9]{8,14}", fullmatch=True))
def test_writing_a_barcode_twice_changes_nothing_and_keeps_it_a_barcode(code: str) -> None:
    assert normalise(normalise(code)) == normalise(code)
    assert is_barcode(normalise(code))
    assert int(normalise(code)) == int(code)


@given(st.text("0123456789", min_size=8, max_size=14))
def test_the_spellings_of_a_barcode_are_those_that_normalise_alike(code: str) -> None:
    written = spellings(code)
    assert code in written
    assert all(is_barcode(one) and normalise(one) == normalise(code) for one in written)
    assert len(written) == 15 - max(8, len(code.lstrip("0")))
