"""Cron against trying every local time: expressions of every shape, and every day on which a zone's clocks move."""

import os
import random
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import available_timezones

import pytest

from spoils.job.cron import Cron, CronError
from tests.job.crontabs import any_crontab, changes, crontab

TICKS = 100
YEARS = timedelta(days=5 * 365 + 1)
BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
AROUND = timedelta(hours=30)
# Fixed times, in the hours in which clocks move and around them; what follows elapsed time; six fields.
TROUBLESOME = (
    "30 2 * * *",
    "0,59 0-4,23 * * *",
    "15/30 1,2 * * *",
    "*/20 * * * *",
    "45 */2 * * *",
    "*/30 1 * * *",
    "0 7/10 0-3 * * *",
)


def told_dice() -> random.Random:
    seed = int(os.environ.get("SPOILS_FAULT_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"Play this again with SPOILS_FAULT_SEED={seed}")
    return random.Random(seed)


def test_any_expression_has_the_slots_that_trying_every_local_time_finds(thorough: bool) -> None:
    dice = told_dice()
    zones = sorted(available_timezones())
    slots = 0
    for _ in range(10_000 if thorough else 100):
        any_one = any_crontab(dice)
        zone = dice.choice(zones)
        begin = BEGIN + timedelta(
            microseconds=dice.randrange((END - BEGIN - YEARS) // timedelta(microseconds=1))
        )
        expected = any_one.slots(zone, begin, begin + YEARS, TICKS)
        if not any_one.possible:
            with pytest.raises(CronError):
                Cron(str(any_one), zone)
            continue
        found = list(islice(Cron(str(any_one), zone).due_between(begin, begin + YEARS), TICKS))
        assert found == expected, f"{any_one} in {zone} after {begin}"
        slots += len(found)
    print(f"{slots} slots are equal")


def test_around_every_move_of_a_clock_the_slots_are_those_that_trying_every_local_time_finds(
    thorough: bool,
) -> None:
    dice = told_dice()
    zones = sorted(available_timezones())
    moves = [
        (zone, move)
        for zone in (zones if thorough else dice.sample(zones, 25))
        for move in changes(zone, BEGIN, END)
    ]
    for zone, move in moves if thorough else dice.sample(moves, min(40, len(moves))):
        for expression in TROUBLESOME:
            expected = crontab(expression).slots(zone, move - AROUND, move + AROUND, 10_000)
            found = list(Cron(expression, zone).due_between(move - AROUND, move + AROUND))
            assert found == expected, f"{expression} in {zone} around {move}"
    print(f"{len(moves)} moves of clocks")
