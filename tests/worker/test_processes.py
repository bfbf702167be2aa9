"""The places of a parent's children: one that attended is replaced after a second, one that cannot start ever later."""

import sys

import pytest

from spoils.worker.processes import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, _Child

ATTENDS = "import os, sys; os.write(int(sys.argv[-1]), b'!')"
# What a job has forked holds the line too, and lets go of it only at the parent's end of it.
LEAVES_A_CHILD = "import os, sys; os.fork() or os.read(int(sys.argv[-1]), 1)"
FAILS = "raise SystemExit(1)"


@pytest.fixture
def place() -> _Child:
    return _Child(1)


def pause_after(place: _Child, program: str) -> float:
    place.start([sys.executable, "-c", program])
    assert place.process is not None
    place.process.wait(60)
    place.died(100.0)
    assert place.process is None
    return place.next_start - 100.0


def test_a_child_that_attended_is_started_again_after_a_second_however_often(place: _Child) -> None:
    assert {pause_after(place, ATTENDS) for _ in range(4)} == {FIRST_PAUSE_SECONDS}
    assert FIRST_PAUSE_SECONDS <= 1


@pytest.mark.parametrize("program", [FAILS, LEAVES_A_CHILD])
def test_a_child_that_ends_before_it_attends_is_started_again_later_each_time(
    place: _Child, program: str
) -> None:
    assert [pause_after(place, program) for _ in range(7)] == [1, 2, 4, 8, 16, LONGEST_PAUSE_SECONDS, 30]
    assert pause_after(place, ATTENDS) == FIRST_PAUSE_SECONDS
    assert pause_after(place, program) == FIRST_PAUSE_SECONDS
