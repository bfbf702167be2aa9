"""The geometry of charts: what is drawn is as high as the figures say, and axes hold them."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spoils.web.dashboard.overview.ranges import RANGES
from spoils.web.dashboard.shared import chart

AT = datetime(2026, 11, 24, 14, 32, 9, tzinfo=UTC)


@given(st.just(0.0) | st.floats(0.001, 1e9))
@example(200_050_001.0)  # within the tolerance of one step and not of the other
def test_an_axis_holds_the_largest_value_in_at_most_four_steps(largest: float) -> None:
    top, step = chart.nice_top(largest)
    assert top >= largest * 0.998
    assert 1 <= round(top / step) <= 4


def test_failed_is_drawn_from_the_base_line_and_finished_above_it() -> None:
    drawn = chart.bars([10, 0, 5], [30, 20, 5], 40)
    # A height of 400 for 40: failed reaches from 400 up to 300, finished from there to 0.
    assert drawn.lower == "M200 400V300h1600V400z"
    assert drawn.upper.startswith("M200 300V0h1600V300z")
    assert drawn.caps == "M200 0h1600M2200 200h1600"
    # The last bar, whose step is not over, apart: each part an eighth of the height, the upper one on the lower one.
    assert (drawn.running_lower, drawn.running_upper) == (
        chart.Part(x=70.0, width=26.67, y=87.5, height=12.5),
        chart.Part(x=70.0, width=26.67, y=75.0, height=12.5),
    )


@given(st.floats(0.5, 1e7), st.floats(1, 1e4))
def test_a_logarithmic_axis_holds_both_ends(smallest: float, factor: float) -> None:
    marks = chart.log_marks(smallest, smallest * factor)
    assert marks == sorted(set(marks))
    assert 2 <= len(marks) <= 6
    assert marks[0] <= max(smallest, 1) * 1.01
    assert marks[-1] >= smallest * factor * 0.99
    assert (
        0 <= chart.log_height(smallest * factor, marks) <= chart.log_height(smallest, marks) <= chart.HEIGHT
    )


def test_a_line_breaks_off_where_nothing_ran() -> None:
    marks = [1.0, 10.0, 100.0]
    assert chart.line([1, 100, None, None], marks) == "M750 400L2250 0"
    assert chart.line([None, 10, None, 1], marks).count("M") == 2
    assert chart.line([None, None], marks) == ""


@pytest.mark.parametrize("name", RANGES)
def test_a_range_ends_with_the_step_that_runs(name: str) -> None:
    shown = RANGES[name]
    moments = shown.moments(AT)
    assert len(moments) == shown.steps
    assert moments[-1] <= AT < moments[-1] + shown.step
    assert shown.marks(AT)
    assert all(0 < mark.at < 100 for mark in shown.marks(AT))
