"""Cron expressions: what is refused, which slots they have, and the two days a year on which the clock moves."""

import time
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoils.job.cron import Cron, CronError, ZoneError
from tests.job.crontabs import any_crontab

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
# Cairo's clock moves at midnight, Lord Howe's by half an hour, Kathmandu's and Casablanca's as they please.
ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "Africa/Cairo", "Asia/Kathmandu", "UTC"])
# Around the days on which the clocks of these zones move, and around none.
MOMENTS = st.sampled_from(
    [(2024, 3, 9), (2024, 3, 30), (2024, 4, 6), (2024, 4, 25), (2024, 7, 1), (2024, 10, 5), (2024, 10, 26),
     (2024, 10, 31), (2024, 11, 2), (2023, 12, 31), (2024, 2, 28)]
).flatmap(
    lambda day: st.integers(0, 36 * 3600).map(lambda s: datetime(*day, tzinfo=UTC) + timedelta(seconds=s))
)  # fmt: skip


def local(moments: list[datetime], zone: str) -> list[str]:
    return [moment.astimezone(ZoneInfo(zone)).strftime("%H:%M:%S%z") for moment in moments]


def day_of(cron: Cron, year: int, month: int, day: int) -> list[str]:
    """The slots from midnight to six of a local day, as local times."""
    zone = ZoneInfo(cron.zone)
    begin = datetime(year, month, day, tzinfo=zone) - timedelta(seconds=1)
    return local(list(cron.due_between(begin, datetime(year, month, day, 6, tzinfo=zone))), cron.zone)


@pytest.mark.parametrize(
    "expression",
    [
        "", " ", "*", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *",
        "* * * * 8", "-1 * * * *", "5-1 * * * *", "*/0 * * * *", "*/ * * * *", "a * * * *", "1.5 * * * *", "² * * * *",
        "٣ * * * *", "\0 * * * *", "* * * * L", "@daily", "* * * * MOON", "0 0 30 2 *", "0 0 31 4 *", "60 * * * * *",
        "9" * 5000 + " * * * *", "* * * * */" + "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused_with_a_sentence(expression: str) -> None:
    with pytest.raises(CronError, match="is not a cron expression"):
        Cron(expression)


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("2 30 * * *", 'Did you mean "30 2 * * *"?'),
        ("0 2 * * * 2026", "a sixth, of seconds, comes first."),
        ("0 0 12 * * MON 2026", "a sixth, of seconds, comes first."),
        ("0 2 * * 9", "day of the month, month and day of the week"),
    ],
)
def test_an_expression_with_its_fields_in_another_order_is_refused_with_the_order(
    expression: str, hint: str
) -> None:
    with pytest.raises(CronError) as refused:
        Cron(expression)
    assert hint in str(refused.value)


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
    ],
)
def test_a_zone_that_is_none_is_refused_with_the_one_that_is_meant(zone: str, meant: str) -> None:
    with pytest.raises(ZoneError, match=f"Did you mean {meant}[?]"):
        Cron("0 0 * * *", zone)


def test_an_expression_that_never_comes_due_is_refused() -> None:
    with pytest.raises(CronError, match="never comes due"):
        Cron("0 0 */30 * 1#2")  # the 1st or 31st, where that is the second Monday of the month


@pytest.mark.parametrize(
    "zone", ["", "Europe", "Mars/Olympus", "../UTC", "/etc/passwd", "UTC\n", "\0", "\ud800"]
)
def test_a_zone_that_is_none_is_refused_with_a_sentence(zone: str) -> None:
    with pytest.raises(CronError, match="There is no time zone"):
        Cron("0 0 * * *", zone)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=30)
    | st.lists(st.text("0123456789*/-,#LW²٣", max_size=5), min_size=5, max_size=6).map(" ".join)
)
def test_any_text_is_an_expression_or_a_cron_error(text: str) -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    try:
        cron = Cron(text, BERLIN)
    except CronError:
        return
    assert cron.next_after(moment) > moment


def test_the_guide_s_expression_comes_at_two_each_night() -> None:
    cron = Cron("0 2 * * *")
    assert cron.upcoming(datetime(2024, 5, 1, 2, tzinfo=UTC), 2) == [
        datetime(2024, 5, 2, 2, tzinfo=UTC),
        datetime(2024, 5, 3, 2, tzinfo=UTC),
    ]
    assert "02:00" in cron.explain()


def test_six_fields_begin_with_the_seconds() -> None:
    cron = Cron("*/20 30 4 * * *")
    assert local(cron.upcoming(datetime(2024, 5, 1, tzinfo=UTC), 4), "UTC") == [
        "04:30:00+0000",
        "04:30:20+0000",
        "04:30:40+0000",
        "04:30:00+0000",
    ]


def test_slots_come_out_in_utc_and_after_fractions_of_a_second() -> None:
    cron = Cron("* * * * * *", BERLIN)
    slot = cron.next_after(datetime(2024, 5, 1, 12, 0, 0, 999_999, tzinfo=ZoneInfo(NEW_YORK)))
    assert slot == datetime(2024, 5, 1, 16, 0, 1, tzinfo=UTC)
    assert slot.tzinfo is UTC


@pytest.mark.parametrize(
    ("zone", "day", "expression", "slots"),
    [
        # Spring: what stands at a fixed time in the gap runs right after it.
        (BERLIN, (2024, 3, 31), "30 2 * * *", ["03:00:00+0200"]),
        (BERLIN, (2024, 3, 31), "15,45 1,2 * * *", ["01:15:00+0100", "01:45:00+0100", "03:00:00+0200"]),
        (BERLIN, (2024, 3, 31), "0 * * * *", ["00:00:00+0100", "01:00:00+0100", "03:00:00+0200", "04:00:00+0200",
                                             "05:00:00+0200", "06:00:00+0200"]),
        (BERLIN, (2024, 3, 31), "0 30 2 * * *", []),
        (NEW_YORK, (2024, 3, 10), "0 2 * * *", ["03:00:00-0400"]),
        (NEW_YORK, (2024, 3, 10), "30 */2 * * *", ["00:30:00-0500", "04:30:00-0400"]),
        (LORD_HOWE, (2024, 10, 6), "15 2 * * *", ["02:30:00+1100"]),
        (LORD_HOWE, (2024, 10, 6), "0 0/2 * * *", ["00:00:00+1030", "02:30:00+1100", "04:00:00+1100", "06:00:00+1100"]),
        # Autumn: what stands at a fixed time in the hour that comes twice runs once.
        (BERLIN, (2024, 10, 27), "30 2 * * *", ["02:30:00+0200"]),
        (BERLIN, (2024, 10, 27), "15,45 2 * * *", ["02:15:00+0200", "02:45:00+0200"]),
        (BERLIN, (2024, 10, 27), "30 * * * *", ["00:30:00+0200", "01:30:00+0200", "02:30:00+0200", "02:30:00+0100",
                                              "03:30:00+0100", "04:30:00+0100", "05:30:00+0100"]),
        (BERLIN, (2024, 10, 27), "0 30 2 * * *", ["02:30:00+0200", "02:30:00+0100"]),
        (NEW_YORK, (2024, 11, 3), "30 1 * * *", ["01:30:00-0400"]),
        (NEW_YORK, (2024, 11, 3), "*/30 1 * * *", ["01:00:00-0400", "01:30:00-0400", "01:00:00-0500", "01:30:00-0500"]),
        (LORD_HOWE, (2024, 4, 7), "45 1 * * *", ["01:45:00+1100"]),
        (LORD_HOWE, (2024, 4, 7), "45 * * * *", ["00:45:00+1100", "01:45:00+1100", "01:45:00+1030", "02:45:00+1030",
                                               "03:45:00+1030", "04:45:00+1030", "05:45:00+1030"]),
        (LORD_HOWE, (2024, 4, 7), "15 */2 * * *", ["00:15:00+1100", "02:15:00+1030", "04:15:00+1030"]),
    ],
)  # fmt: skip
def test_daylight_saving(zone: str, day: tuple[int, int, int], expression: str, slots: list[str]) -> None:
    assert day_of(Cron(expression, zone), *day) == slots


@settings(max_examples=200, deadline=None)
@given(st.randoms(), ZONES, MOMENTS, st.integers(0, 999_999), st.lists(st.integers(0, 8 * 3600), max_size=4))
def test_ticks_ascend_and_none_is_repeated_or_skipped_where_a_span_is_split(
    dice: Random, zone: str, begin: datetime, fraction: int, cuts: list[int]
) -> None:
    begin = begin.replace(microsecond=fraction)
    try:
        cron = Cron(str(any_crontab(dice)), zone)
    except CronError:
        return  # the 30th of February
    assert cron.next_after(begin) > begin
    end = begin + timedelta(hours=8)
    edges = [begin, *(begin + timedelta(seconds=cut) for cut in sorted(cuts)), end]
    parts = [tick for a, b in pairwise(edges) for tick in cron.due_between(a, b)]
    assert parts == list(cron.due_between(begin, end)) == sorted(set(parts))


@settings(max_examples=200, deadline=None)
@given(st.randoms(), ZONES, MOMENTS, st.integers(0, 999_999))
def test_the_count_of_a_day_is_that_of_its_ticks(
    dice: Random, zone: str, begin: datetime, fraction: int
) -> None:
    begin = begin.replace(microsecond=fraction)
    try:
        cron = Cron(str(any_crontab(dice)), zone)
    except CronError:
        return  # the 30th of February
    ticks = sum(1 for _ in islice(cron.due_between(begin, begin + timedelta(days=1)), 2_000))
    assert ticks == min(cron.count_in_a_day(begin), 2_000)


def test_a_rare_slot_is_found_soon() -> None:
    began = time.monotonic()
    # A Monday that is the fifth of a February comes every 28 years.
    assert Cron("*/5 3 * 2 1#5", LORD_HOWE).next_after(datetime(2024, 1, 1, tzinfo=UTC)).year == 2044
    assert time.monotonic() - began < 2
