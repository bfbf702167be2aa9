"""The bars of a code: against encodings worked out by hand, and read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoils.food.dashboard.barcode_svg import draw, modules

# ISO/IEC 15420's own tables give these for 4006381333931 and 96385074.
EAN_13 = (
    "10100011010100111010111101111010001001011001101010"
    "100001010000101000010111010010000101100110101"
)  # fmt: skip
EAN_8 = "1010001011010111101111010110111010101001110111001010001001011100101"  # fmt: skip

_SET_A = dict(
    zip(
        (
            "0001101",
            "0011001",
            "0010011",
            "0111101",
            "0100011",
            "0110001",
            "0101111",
            "0111011",
            "0110111",
            "0001011",
        ),
        "0123456789",
        strict=True,
    )
)


def test_an_ean_13_is_drawn_as_the_standard_says() -> None:
    assert modules("4", "006381", "333931") == EAN_13


def test_an_ean_8_is_drawn_as_the_standard_says() -> None:
    assert modules("", "9638", "5074") == EAN_8


def test_the_bars_are_the_ones_of_the_encoding() -> None:
    drawn = draw("4006381333931")
    assert drawn is not None
    row = ["0"] * drawn.modules
    for bar in drawn.bars:
        row[bar.x : bar.x + bar.width] = "1" * bar.width
    assert "".join(row) == EAN_13
    assert (drawn.first, drawn.left, drawn.right) == ("4", "006381", "333931")
    assert [bar.x for bar in drawn.bars if bar.guard] == [0, 2, 46, 48, 92, 94]


def test_a_upc_a_is_the_ean_13_with_a_nought() -> None:
    assert draw("737628064502") == draw("0737628064502")


@pytest.mark.parametrize(
    "code",
    [
        "4006381333932",  # a wrong check digit
        "96385075",
        "40063813339310",  # 14 digits: no symbology of these
        "1234567",
        "",
        "abcdefgh",
        "٤٠٠٦٣٨١٣٣٣٩٣١",
    ],
)
def test_what_has_no_bars_is_not_drawn(code: str) -> None:
    assert draw(code) is None


@given(st.from_regex(r"[0-9]{7}|[0-9]{12}", fullmatch=True))
def test_any_code_reads_back_as_itself(body: str) -> None:
    weighed = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(body)))
    code = body + str(-weighed % 10)
    drawn = draw(code)
    assert drawn is not None
    assert drawn.first + _read(drawn.first, drawn.left, drawn.right) == code
    assert sum(bar.width for bar in drawn.bars) == modules(drawn.first, drawn.left, drawn.right).count("1")


def _read(first: str, left: str, right: str) -> str:
    row = modules(first, left, right)
    half = len(left) * 7
    digits = [_digit(row[3 + at : 10 + at]) for at in range(0, half, 7)]
    digits += [_digit(row[8 + half + at : 15 + half + at]) for at in range(0, half, 7)]
    return "".join(digits)


def _digit(bars: str) -> str:
    turned = bars.translate(str.maketrans("01", "10"))
    for candidate in (bars, turned, turned[::-1]):
        if candidate in _SET_A:
            return _SET_A[candidate]
    raise AssertionError(bars)
