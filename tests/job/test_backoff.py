"""The wait before a retry: never negative, never past seven days, whatever a class answers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoils.job.backoff import LONGEST_SECONDS, clamp, exponential, jittered

ANYTHING = (
    st.floats()
    | st.integers()
    | st.integers(10**300, 10**301)
    | st.booleans()
    | st.text()
    | st.none()
    | st.complex_numbers()
    | st.decimals()
)


def test_it_doubles_from_a_minute_up_to_seven_days() -> None:
    assert [exponential(attempt) for attempt in range(4)] == [60, 120, 240, 480]
    assert exponential(13) == 491_520
    assert exponential(14) == exponential(10**9) == LONGEST_SECONDS == 604_800


@given(st.integers(0, 10**12), st.floats(0, 1e300))
def test_it_never_falls_and_never_leaves_its_bounds(attempt: int, first: float) -> None:
    assert 0 <= exponential(attempt, first) <= exponential(attempt + 1, first) <= LONGEST_SECONDS


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (0, 0), (1.5, 1.5), (-1, 0), (-1e308, 0), (float("-inf"), 0), (1e308, LONGEST_SECONDS),
        (float("inf"), LONGEST_SECONDS), (10**400, LONGEST_SECONDS), (-(10**400), 0), (float("nan"), 60), (True, 60),
        (False, 60), (None, 60), ("90", 60), ([], 60),
    ],
)  # fmt: skip
def test_what_a_class_answers_is_brought_into_bounds(answer: object, seconds: float) -> None:
    assert clamp(answer) == seconds
    assert type(clamp(answer)) is float


@given(ANYTHING)
def test_anything_at_all_becomes_a_delay(answer: object) -> None:
    seconds = clamp(answer)
    assert 0 <= seconds <= LONGEST_SECONDS
    assert math.isfinite(seconds)


@given(st.floats(0, LONGEST_SECONDS), st.floats(0, 1, exclude_max=True))
def test_the_jitter_adds_up_to_a_tenth_and_no_more(seconds: float, chance: float) -> None:
    delay = jittered(seconds, lambda: chance)
    assert seconds <= delay <= min(seconds * 1.1, LONGEST_SECONDS)


def test_the_jitter_spreads_over_its_whole_band() -> None:
    assert jittered(100, lambda: 0.0) == 100
    assert jittered(100, lambda: 0.5) == pytest.approx(105)
    assert jittered(100, lambda: 1.0) == pytest.approx(110)
