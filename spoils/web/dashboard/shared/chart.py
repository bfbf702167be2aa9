"""The geometry of charts: numbers become SVG paths. The plot is stretched to its box, labels stand beside it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 6_000, 400
"""Large enough that whole numbers are precise; they keep the page small."""
GAP = 0.2
"""Of a bar's width."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A label on an axis, at `at` per cent of its length."""

    at: float
    text: str
    iso: str = ""
    """The moment that it names, so that a script can show it in local time."""


@dataclass(frozen=True, slots=True)
class Hit:
    """The area of a bar, with its figures as a tooltip."""

    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the last bar, whose step is not over: hatched, in per cent of the plot."""

    x: float
    width: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bars:
    """Stacked bars: the lower ones solid, the upper ones soft with a cap."""

    lower: str
    upper: str
    caps: str
    running_lower: Part | None = None
    running_upper: Part | None = None


def nice_top(largest: float) -> tuple[float, float]:
    """The top of an axis that starts at 0, and its step: at most four steps."""
    if largest <= 0:
        return 4.0, 1.0
    power = 10.0 ** math.floor(math.log10(largest / 4))
    step = next(power * each for each in (1, 2, 4, 5, 10) if power * each * 4 >= largest * 0.999)
    return step * max(1, math.ceil(largest * 0.999 / step)), step


def bars(lower: Sequence[float], upper: Sequence[float], top: float) -> Bars:
    """Bars of two sequences of equal length, the upper ones on top of the lower ones; the last bar is hatched."""
    height = HEIGHT
    each = WIDTH / len(lower)
    width = each * (1 - GAP)
    below, above, caps = [], [], []
    for at, (low, high) in enumerate(zip(lower[:-1], upper[:-1], strict=True)):
        x = at * each + each * GAP / 2
        low_top, top_top = height - low / top * height, height - (low + high) / top * height
        if low:
            below.append(f"M{x:.0f} {height}V{low_top:.0f}h{width:.0f}V{height}z")
        if high:
            above.append(f"M{x:.0f} {low_top:.0f}V{top_top:.0f}h{width:.0f}V{low_top:.0f}z")
            caps.append(f"M{x:.0f} {top_top:.0f}h{width:.0f}")
    return Bars(
        "".join(below),
        "".join(above),
        "".join(caps),
        running_lower=_running(len(lower), 0, lower[-1] / top),
        running_upper=_running(len(lower), lower[-1] / top, upper[-1] / top),
    )


def _running(steps: int, below: float, share: float) -> Part | None:
    width = 100 / steps
    if not share:
        return None
    x, y = 100 - width * (1 - GAP / 2), 100 - (below + share) * 100
    return Part(round(x, 2), round(width * (1 - GAP), 2), round(y, 2), round(share * 100, 2))


def spark(lower: Sequence[float], upper: Sequence[float]) -> Bars:
    """A sparkline: strokes of 10 by 100 units a bar, with a scale of its own."""
    top = max((low + high for low, high in zip(lower, upper, strict=True)), default=0) or 1
    below, above, caps = [], [], []
    for at, (low, high) in enumerate(zip(lower, upper, strict=True)):
        x, low_top, top_top = at * 10 + 5, round(100 - low / top * 96), round(100 - (low + high) / top * 96)
        if low:
            below.append(f"M{x} 100V{low_top}")
        if high:
            above.append(f"M{x} {low_top}V{top_top}")
            caps.append(f"M{x - 4} {top_top}h8")
    return Bars("".join(below), "".join(above), "".join(caps))


def log_marks(smallest: float, largest: float) -> list[float]:
    """The marks of a logarithmic axis, 1 and 3 of each power of ten, that enclose both ends."""
    low, high = max(smallest, 1.0), max(largest, 1.0)
    steps = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 2)
        for factor in (1, 3)
    ]
    first = max((at for at, step in enumerate(steps) if step <= low * 1.001), default=0)
    last = next(at for at, step in enumerate(steps) if step >= high * 0.999)
    marks = steps[first : max(last, first + 2) + 1]
    while len(marks) > 6:
        marks = [*marks[:-1:2], marks[-1]]
    return marks


def log_height(value: float, marks: Sequence[float]) -> float:
    """The distance of a value from the top of an axis with these marks, of `HEIGHT`."""
    low, high = math.log(marks[0]), math.log(marks[-1])
    share = (math.log(max(value, 1e-9)) - low) / (high - low)
    return HEIGHT - min(max(share, 0.0), 1.0) * HEIGHT


def line(values: Sequence[float | None], marks: Sequence[float]) -> str:
    """A line through the values, interrupted by missing ones; a single value is a dash."""
    each = WIDTH / len(values)
    path, drawing = [], False
    for at, value in enumerate(values):
        if value is None:
            drawing = False
            continue
        x, y = (at + 0.5) * each, log_height(value, marks)
        alone = not drawing and (at + 1 == len(values) or values[at + 1] is None)
        if alone:
            path.append(f"M{x - each / 3:.0f} {y:.0f}h{each * 2 / 3:.0f}")
        else:
            path.append(f"{'L' if drawing else 'M'}{x:.0f} {y:.0f}")
        drawing = True
    return "".join(path)
