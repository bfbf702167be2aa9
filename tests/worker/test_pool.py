"""The threads that perform: how many are free, and that no fault ends one."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from spoils.queue.claim import Claim
from spoils.worker.pool import Pool
from tests.support import eventually

CLAIM = Claim(uuid4(), "sample", "SampleJob", "{}", 0, 1, 0, datetime.now(UTC), datetime.now(UTC))


def another() -> Claim:
    return replace(CLAIM, id=uuid4())


def test_it_performs_as_many_at_once_as_it_has_threads_and_knows_how_many_are_free() -> None:
    gate, met = threading.Event(), threading.Barrier(4)
    idle = threading.Semaphore(0)

    def perform(_: Claim) -> None:
        met.wait(10)
        gate.wait(10)

    pool = Pool(threads=3, perform=perform, on_idle=idle.release)
    pool.start()
    assert (pool.free, pool.busy) == (3, 0)
    for number in range(3):
        pool.submit(another())
        assert (pool.free, pool.busy) == (2 - number, 1 + number)
    met.wait(10)
    gate.set()
    for _ in range(3):
        assert idle.acquire(timeout=10)
    assert (pool.free, pool.busy) == (3, 0)
    pool.stop()


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, MemoryError])
def test_a_fault_of_our_own_is_told_and_ends_no_thread(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    idle = threading.Semaphore(0)

    def perform(_: Claim) -> None:
        raise error

    pool = Pool(threads=1, perform=perform, on_idle=idle.release)
    pool.start()
    for _ in range(3):
        pool.submit(another())
        assert idle.acquire(timeout=10)
    assert pool.free == 1
    assert [record.message for record in caplog.records] == ["Performing broke down"] * 3
    pool.stop()


def test_its_threads_end_once_they_are_free() -> None:
    gate, performed = threading.Event(), []

    def perform(claim: Claim) -> None:
        gate.wait(10)
        performed.append(claim)

    pool = Pool(threads=2, perform=perform, on_idle=lambda: None)
    before = set(threading.enumerate())
    pool.start()
    mine = set(threading.enumerate()) - before
    pool.submit(CLAIM)
    pool.stop()
    gate.set()

    def ended() -> None:
        assert not any(thread.is_alive() for thread in mine)

    eventually(ended)
    assert performed == [CLAIM]
