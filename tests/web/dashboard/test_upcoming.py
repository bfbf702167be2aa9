"""The next 24 hours are drawn in full, however many ticks and jobs there are."""

import re
from datetime import UTC, datetime

import pytest

from spoils.job.cron import Cron
from spoils.models import Schedule
from spoils.reports.upcoming import STEPS
from spoils.web.dashboard.overview.upcoming import DAY, show_upcoming
from spoils.web.dashboard.shared import chart
from tests.web.dashboard.pages import Visitor, words
from tests.web.dashboard.scenes import Scenes

MOMENTS = [
    datetime(2026, 11, 24, 14, 32, 9, 123_456, tzinfo=UTC),
    datetime(2026, 11, 24, 14, 30, tzinfo=UTC),  # each step begins with a tick
    datetime(2026, 10, 25, 0, 20, tzinfo=UTC),  # an hour comes twice in Berlin
]


def drawn(now: datetime, *crons: str, zone: str = "Europe/Berlin") -> list[int]:
    """Where ticks stand, from the left."""
    schedules = [Schedule(job=cron, cron=cron, zone=zone, task_type="x") for cron in crons]
    return [int(x) for x in re.findall(r"M(\d+) ", show_upcoming(schedules, [], now).ticks)]


@pytest.mark.parametrize("now", MOMENTS, ids=str)
@pytest.mark.parametrize("cron", ["* * * * * *", "* * * * *", "*/5 * * * *", "*/15 * * * *"])
def test_the_lane_of_ticks_covers_the_day_with_a_mark_a_step(now: datetime, cron: str) -> None:
    marks = drawn(now, cron)
    assert STEPS - 1 <= len(marks) <= STEPS + 1
    gaps = [after - before for before, after in zip(marks, [*marks[1:], chart.WIDTH], strict=True)]
    assert max(marks[0], *gaps) <= 2 * chart.WIDTH // STEPS


@pytest.mark.parametrize("now", MOMENTS, ids=str)
@pytest.mark.parametrize("cron", ["0 2 * * *", "0 * * * *", "*/20 9-17 * * *", "*/15 * * * *", "7 7 1 1 *"])
def test_ticks_that_are_a_step_apart_stand_each_at_its_place(now: datetime, cron: str) -> None:
    each = [slot - now for slot in Cron(cron, "Europe/Berlin").due_between(now, now + DAY)]
    assert drawn(now, cron) == [round(after / DAY * chart.WIDTH) for after in each]


@pytest.mark.parametrize(
    ("cron", "after"), [("* * * * *", ", 1,440 times"), ("0 */6 * * *", ", 4 times"), ("0 2 * * *", "")]
)
def test_a_schedule_is_one_line_that_says_how_often_it_ticks(cron: str, after: str) -> None:
    schedules = [Schedule(job="x", cron=cron, zone="UTC", task_type="x")]
    (line,) = show_upcoming(schedules, [], MOMENTS[0]).lines
    assert line.after == after


def test_a_schedule_with_an_unknown_zone_is_left_out() -> None:
    assert drawn(MOMENTS[0], "* * * * *", zone="Mars/Olympus") == []


def test_a_lane_that_is_cut_says_so(admin: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoils.reports.upcoming.MOST", 20)
    for number in range(19):
        scenes.task(task_type="mail", due_in=60 + number)
    note = "Shows the next 20 jobs of each type; there may be more."
    assert note not in words(admin.see("/"))
    for number in range(3):
        scenes.task(task_type="mail", due_in=36_000 + number)
    assert note in words(admin.see("/"))
