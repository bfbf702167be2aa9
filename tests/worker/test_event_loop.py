"""The event loop beside its dispatcher: what it takes, what it gives back, and what a blocked one says."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator

import pytest

from spoils.queue.claim import Claim
from spoils.worker import event_loop
from spoils.worker.event_loop import BUSY_SECONDS, EventLoop
from tests.support import eventually


def a_claim(number: int) -> Claim:
    return Claim(str(number), "sample", "SampleJob", "{}", 0, 1, 0, 0, "", "")


class Bench:
    """An event loop with three places whose jobs do what the test says."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun: list[str] = []
        self.block = False
        self.room = threading.Semaphore(0)
        self.loop = EventLoop(places=3, perform=self._perform, on_room=self.room.release)
        self.loop.start()

    async def _perform(self, claim: Claim) -> None:
        self.begun.append(claim.key)
        if self.block:
            self.gate.wait(60)
        while not self.gate.is_set():
            await asyncio.sleep(0.01)

    def takes(self, *numbers: int) -> None:
        self.loop.submit([a_claim(number) for number in numbers])


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.gate.set()
    eventually(lambda: bench.loop.busy == 0)
    bench.loop.stop()


def test_it_has_room_for_as_many_jobs_as_it_has_places(bench: Bench) -> None:
    assert (bench.loop.room, bench.loop.busy) == (3, 0)
    bench.takes(1, 2)
    eventually(lambda: bench.begun == ["1", "2"])
    assert (bench.loop.room, bench.loop.busy) == (1, 2)
    bench.gate.set()
    eventually(lambda: bench.loop.room == 3)
    assert bench.room.acquire(timeout=10)


def test_a_job_that_was_given_up_frees_its_place_once(bench: Bench) -> None:
    bench.takes(1, 2)
    eventually(lambda: len(bench.begun) == 2)
    bench.loop.replace(a_claim(1).token)
    assert (bench.loop.room, bench.loop.lost) == (2, 1)
    bench.gate.set()
    eventually(lambda: (bench.loop.room, bench.loop.lost) == (3, 0))


def test_a_blocked_loop_takes_nothing_and_gives_back_what_has_not_begun(bench: Bench) -> None:
    bench.block = True
    bench.takes(1)
    eventually(lambda: bench.begun == ["1"])
    bench.takes(2, 3)
    eventually(lambda: bench.loop.blocked_seconds > BUSY_SECONDS)
    assert bench.loop.room == 0
    assert [one.key for one in bench.loop.take_back(waiting_for=0.25)] == ["2", "3"]
    bench.gate.set()
    eventually(lambda: bench.loop.room == 3)
    assert bench.begun == ["1"]


def test_a_blocked_loop_is_named_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.block = True
    bench.takes(1)
    with caplog.at_level(logging.WARNING, "spoils.worker"):
        eventually(lambda: len(caplog.records) > 0)
        eventually(lambda: bench.loop.blocked_seconds > event_loop.BLOCKED_SECONDS + 1)
        (record,) = caplog.records
    assert "blocks the event loop" in record.getMessage()
    assert "self.gate.wait(60)" in record.getMessage()


@pytest.mark.parametrize(("used_seconds", "named"), [(2.0, 1), (0.0, 0)])
def test_code_that_holds_the_interpreter_is_named_afterwards_but_not_a_process_that_was_frozen(
    *,
    bench: Bench,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    used_seconds: float,
    named: int,
) -> None:
    """In both cases the watching thread is late."""
    bench.loop.watch.stop(30)
    bench.block = True
    bench.takes(1)
    eventually(lambda: bench.loop.blocked_seconds > event_loop.BLOCKED_SECONDS)
    monkeypatch.setattr(bench.loop, "_watched_at", 0.0)
    monkeypatch.setattr(event_loop, "_processor_seconds", lambda _: bench.loop._used_seconds + used_seconds)
    with caplog.at_level(logging.WARNING, "spoils.worker"):
        bench.loop._watch()
    assert len(caplog.records) == named


def test_the_system_says_how_long_a_thread_has_used_the_processor() -> None:
    before = event_loop._processor_seconds(threading.get_native_id())
    used = time.thread_time()
    while time.thread_time() < used + 0.2:
        pass
    assert event_loop._processor_seconds(threading.get_native_id()) - before >= 0.1
    assert event_loop._processor_seconds(0) == 0.0
