"""Telling the dead from the silent: only silence that was watched counts."""

from uuid import UUID

import pytest

from spoils.queue.presence import Neighbour, Pulse
from spoils.worker.watch import Watch

ONE, OTHER = UUID(int=1), UUID(int=2)


def pulse(*neighbours: Neighbour, up: float = 1000) -> Pulse:
    return Pulse(alive=True, neighbours=neighbours, server_up_seconds=up)


def silent(holds_lock: bool | None, id_: UUID = ONE, beat: str = "b1") -> Neighbour:
    return Neighbour(id_, beat, holds_lock)


@pytest.mark.parametrize(("holds_lock", "seconds"), [(False, 3), (True, 30), (None, 30)])
def test_dead_is_whose_beat_stood_still_long_enough(holds_lock: bool | None, seconds: float) -> None:
    watch, one = Watch(), silent(holds_lock)
    assert watch.observe(pulse(one), 100) == []
    assert watch.observe(pulse(one), 100 + seconds - 0.01) == []
    assert watch.observe(pulse(one), 100 + seconds) == [one]


def test_a_beat_begins_the_silence_anew() -> None:
    watch = Watch()
    watch.observe(pulse(silent(False)), 100)
    assert watch.observe(pulse(silent(False, beat="b2")), 104) == []
    assert watch.observe(pulse(silent(False, beat="b2")), 106.9) == []
    assert watch.observe(pulse(silent(False, beat="b2")), 107) == [silent(False, beat="b2")]


def test_what_was_not_seen_is_no_silence() -> None:
    watch = Watch()
    watch.observe(pulse(silent(False)), 100)
    watch.forget()
    assert watch.observe(pulse(silent(False)), 200) == []
    # Others may have been cut off with it, and come back a little later.
    assert watch.observe(pulse(silent(False)), 209) == []
    assert watch.observe(pulse(silent(False)), 210) == []
    assert watch.observe(pulse(silent(False)), 213) == [silent(False)]


def test_one_that_was_away_from_the_list_is_watched_from_its_return_on() -> None:
    watch = Watch()
    watch.observe(pulse(silent(False)), 100)
    watch.observe(pulse(), 150)
    assert watch.observe(pulse(silent(False)), 200) == []


def test_a_lock_that_is_lost_during_the_silence_shortens_it() -> None:
    watch = Watch()
    watch.observe(pulse(silent(True)), 100)
    assert watch.observe(pulse(silent(True)), 110) == []
    assert watch.observe(pulse(silent(False)), 110) == [silent(False)]


def test_after_a_start_of_the_server_nobody_is_judged() -> None:
    watch = Watch()
    watch.observe(pulse(silent(False)), 100)
    assert watch.observe(pulse(silent(False), up=1), 200) == []
    assert watch.observe(pulse(silent(False), up=11), 210) == []
    assert watch.observe(pulse(silent(False), up=14), 213) == [silent(False)]


def test_each_neighbour_is_judged_for_itself() -> None:
    watch = Watch()
    watch.observe(pulse(silent(False), silent(False, OTHER)), 100)
    assert watch.observe(pulse(silent(False), silent(False, OTHER, "b2")), 105) == [silent(False)]
