"""The bars of an EAN-13, UPC-A or EAN-8 code, as a drawing in modules of one unit. Pure.

L codes are the standard's set A, R codes their complement (set C), G codes the mirror of R (set B). The first
digit of an EAN-13 has no bars: it is told by which of the six digits after it are drawn in L and which in G.
"""

from dataclasses import dataclass

_L = (
    "0001101", "0011001", "0010011", "0111101", "0100011",
    "0110001", "0101111", "0111011", "0110111", "0001011",
)  # fmt: skip
_R = [code.translate(str.maketrans("01", "10")) for code in _L]
_G = [code[::-1] for code in _R]
_FIRST_DIGIT = (
    "LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG",
    "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL",
)  # fmt: skip
_GUARD, _CENTRE = "101", "01010"


@dataclass(frozen=True, slots=True)
class Bar:
    """A dark bar: where it begins and how wide it is, in modules; guards are drawn longer."""

    x: int
    width: int
    guard: bool


@dataclass(frozen=True, slots=True)
class Barcode:
    """A code that can be drawn: its bars, its width in modules, and its digits by where they stand."""

    bars: tuple[Bar, ...]
    modules: int
    first: str
    left: str
    right: str


def draw(code: str) -> Barcode | None:
    """The drawing of `code`; None where no symbology has its length or its check digit is wrong."""
    if not (code.isascii() and code.isdigit()) or not _checks(code):
        return None
    if len(code) == 8:
        return _drawn("", code[:4], code[4:])
    if len(code) == 12:  # a UPC-A is the EAN-13 with a nought before it
        code = "0" + code
    if len(code) == 13:
        return _drawn(code[0], code[1:7], code[7:])
    return None


def modules(first: str, left: str, right: str) -> str:
    """The code as a row of ones (dark) and noughts."""
    parity = _FIRST_DIGIT[int(first)] if first else "LLLL"
    sets = {"L": _L, "G": _G}
    leading = "".join(sets[letter][int(digit)] for letter, digit in zip(parity, left, strict=True))
    trailing = "".join(_R[int(digit)] for digit in right)
    return _GUARD + leading + _CENTRE + trailing + _GUARD


def _checks(code: str) -> bool:
    # From the right the weights are 1 (the check digit itself), 3, 1, 3 …
    return sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(reversed(code))) % 10 == 0


def _drawn(first: str, left: str, right: str) -> Barcode:
    row = modules(first, left, right)
    middle = len(row) // 2
    bars: list[Bar] = []
    x = 0
    while x < len(row):
        width = 1
        while x + width < len(row) and row[x + width] == row[x]:
            width += 1
        if row[x] == "1":
            guard = x < 3 or x >= len(row) - 3 or middle - 2 <= x <= middle + 2
            bars.append(Bar(x, width, guard))
        x += width
    return Barcode(tuple(bars), len(row), first, left, right)
