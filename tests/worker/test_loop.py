"""The thread that ticks: it stops, it wakes, and no error ends it."""

import logging
import threading
from itertools import pairwise

import pytest

from spoils.worker.loop import LONGEST_ERROR_SECONDS, Loop
from tests.locks import at_once
from tests.support import eventually


class Ticks:
    """A tick that counts, and tells when so many have been."""

    def __init__(self, delay: float = 60.0) -> None:
        self.delay = delay
        self.number = 0
        self.moved = threading.Condition()

    def __call__(self) -> float:
        with self.moved:
            self.number += 1
            self.moved.notify_all()
        return self.delay

    def reach(self, number: int) -> None:
        with self.moved:
            assert self.moved.wait_for(lambda: self.number >= number, 60), f"only {self.number} ticks"


def test_it_ticks_at_once_and_again_when_it_is_woken() -> None:
    ticks = Ticks()
    loop = Loop(name="a loop", tick=ticks)
    loop.start()
    for number in range(1, 6):
        ticks.reach(number)
        loop.wake()
    ticks.reach(6)
    assert loop.stop(60)


def test_a_delay_of_nothing_ticks_on_without_a_wait() -> None:
    waits: list[float] = []
    ticks = Ticks(0.0)
    loop = Loop(name="a loop", tick=ticks, wait=waits.append, interrupt=lambda: None)
    loop.start()
    ticks.reach(1000)
    assert loop.stop(60)
    assert waits == []


def test_it_waits_as_long_as_its_tick_says() -> None:
    waits: list[float] = []
    waited = threading.Event()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        waited.set()

    loop = Loop(name="a loop", tick=Ticks(12.5), wait=wait, interrupt=lambda: None)
    loop.start()
    assert waited.wait(60)
    assert loop.stop(60)
    assert set(waits) == {12.5}


def test_a_wait_that_fails_ends_in_a_tick() -> None:
    ticks = Ticks(3.0)

    def wait(_: float) -> None:
        raise ValueError

    loop = Loop(name="a loop", tick=ticks, wait=wait, interrupt=lambda: None)
    loop.start()
    ticks.reach(3)
    assert loop.stop(60)


def test_errors_make_it_wait_longer_and_longer_and_never_end_it(caplog: pytest.LogCaptureFixture) -> None:
    waits: list[float] = []
    enough, rounds = threading.Event(), iter(range(100))

    def tick() -> float:
        number = next(rounds)
        if number == 12:
            return 7.0
        raise ValueError(f"trouble {number}")

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 14:
            enough.set()
            threading.Event().wait(0.01)

    loop = Loop(name="a loop", tick=tick, wait=wait, interrupt=lambda: None)
    with caplog.at_level(logging.WARNING):
        loop.start()
        assert enough.wait(60)
        assert loop.stop(60)
    before, after = waits[:12], waits[13]
    assert 0.1 <= before[0] <= 0.12
    assert all(earlier < later for earlier, later in pairwise(before[:6]))
    assert all(LONGEST_ERROR_SECONDS <= seconds <= LONGEST_ERROR_SECONDS * 1.2 for seconds in before[6:])
    assert waits[12] == 7.0
    assert after <= 0.12  # a good round begins the count anew
    (record,) = caplog.records  # with a good round between them all these are one trouble
    assert record.getMessage() == "a loop: ValueError: trouble 0"
    assert record.exc_info


def test_stopping_before_the_start_and_twice_is_fine() -> None:
    ticks = Ticks()
    loop = Loop(name="a loop", tick=ticks)
    assert loop.stop(1)
    assert loop.stop(1)
    loop.start()
    assert loop.stop(60)
    assert ticks.number == 0


def test_a_loop_may_stop_itself() -> None:
    ended = threading.Event()

    def tick() -> float:
        loop.stop()
        ended.set()
        return 60.0

    loop = Loop(name="a loop", tick=tick)
    loop.start()
    assert ended.wait(60)
    assert loop.stop(60)


def test_a_tick_that_hangs_is_not_waited_for_beyond_the_timeout() -> None:
    free, begun = threading.Event(), threading.Event()

    def tick() -> float:
        begun.set()
        free.wait(30)
        return 60.0

    loop = Loop(name="a loop", tick=tick)
    loop.start()
    assert begun.wait(60)
    assert not loop.stop(0.01)
    free.set()
    assert loop.stop(60)


def test_ten_threads_start_wake_and_stop_it_fifty_times_and_one_thread_at_most_ticks() -> None:
    for _ in range(50):
        inside = threading.Semaphore(1)
        overlaps: list[int] = []

        def tick(inside: threading.Semaphore = inside, overlaps: list[int] = overlaps) -> float:
            if not inside.acquire(blocking=False):
                overlaps.append(1)
                return 60.0
            inside.release()
            return 0.001

        loop = Loop(name="stressed", tick=tick)

        def hand(number: int, loop: Loop = loop) -> bool:
            if number % 3 == 0:
                loop.start()
            if number % 3 == 1:
                loop.wake()
            return loop.stop(60)

        assert all(at_once(10, hand))
        assert loop.stop(60)
        assert overlaps == []
    eventually(lambda: [thread for thread in threading.enumerate() if thread.name == "stressed"] == [])
