"""Numbers, durations and moments as pages write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from spoils.web.dashboard.shared import formats

NOW = datetime(2026, 11, 24, 14, 32, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "–"),
        (-1, "–"),
        (999, "999 ms"),
        (59_990, "59.99 s"),
        (127_000, "2 min 7 s"),
        (12_480_000, "3 h 28 min"),
    ],
)
def test_run_times(milliseconds: float | None, text: str) -> None:
    assert formats.run_time(milliseconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (59.9, "59 s"),
        (60, "1 min"),
        (148, "2 min 28 s"),
        (3_600, "1 h"),
        (86_400, "1 day"),
        (-200_000, "2 days"),
        (1e12, "forever"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert formats.span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (2, "0.4"), (5, "1"), (49, "9.8"), (585, "117"), (9_000_000, "1,800,000")]
)
def test_rates(count: int, text: str) -> None:
    assert formats.per_minute(count, 5) == text


@pytest.mark.parametrize(
    ("ago", "age", "clock"),
    [
        (timedelta(seconds=65), "1 min ago", "14:31:04"),
        (timedelta(days=1), "1 day ago", "23 Nov 14:32"),
        (timedelta(days=400), "400 days ago", "20 Oct 2025"),
        (timedelta(seconds=-148), "in 2 min 28 s", "14:34:37"),
    ],
)
def test_moments(ago: timedelta, age: str, clock: str) -> None:
    moment = formats.moment(NOW - ago, NOW)
    assert moment is not None
    assert (moment.age, moment.clock) == (age, clock)


def test_a_moment_of_any_zone_is_shown_in_utc() -> None:
    berlin = datetime(2026, 11, 24, 15, 0, 0, tzinfo=timezone(timedelta(hours=1)))
    moment = formats.moment(berlin, NOW)
    assert moment is not None
    assert moment.full == "24 Nov 2026 14:00:00 UTC"
    assert moment.iso == "2026-11-24T14:00:00.000+00:00"


@pytest.mark.parametrize(
    ("point", "age"),
    [(datetime(9999, 12, 31, tzinfo=UTC), "never"), (datetime(1, 1, 1, tzinfo=UTC), "at −∞")],
)
def test_infinities_of_the_database_are_words(point: datetime, age: str) -> None:
    moment = formats.moment(point, NOW)
    assert moment is not None
    assert moment.age == age


def test_cut_texts_say_so() -> None:
    assert formats.shortened("12345", 5) == "12345"
    assert formats.shortened("123456", 5) == "1234…"


def test_one_line_folds_white_space_and_shows_what_turns_the_text() -> None:
    assert formats.one_line(" a\n\tb \u202egnp") == "a b \\u202egnp"
