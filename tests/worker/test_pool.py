"""The threads that perform: how many are free, and that no fault ends one."""

import threading
from uuid import uuid4

import pytest

from spoils.queue.claim import Claim
from spoils.worker.pool import Pool
from tests.support import eventually

CLAIM = Claim(str(uuid4()), "sample", "SampleJob", "{}", 0, 1, 0, 0, "-infinity", "-infinity")


def another() -> Claim:
    return CLAIM._replace(key=str(uuid4()))


def test_it_performs_as_many_at_once_as_it_has_threads_and_knows_how_many_are_free() -> None:
    gate, met = threading.Event(), threading.Barrier(4)
    idle = threading.Semaphore(0)

    def perform(_: Claim) -> None:
        met.wait(60)
        gate.wait(60)

    pool = Pool(threads=3, perform=perform, on_room=idle.release)
    pool.start()
    assert (pool.room, pool.busy) == (3, 0)
    for number in range(3):
        pool.submit([another()])
        assert (pool.room, pool.busy) == (2 - number, 1 + number)
    met.wait(60)
    gate.set()
    for _ in range(3):
        assert idle.acquire(timeout=60)
    assert pool.busy == 0
    assert pool.room >= 3
    pool.stop()


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, MemoryError])
def test_a_fault_of_our_own_is_told_and_ends_no_thread(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    idle = threading.Semaphore(0)

    def perform(_: Claim) -> None:
        raise error

    pool = Pool(threads=1, perform=perform, on_room=idle.release)
    pool.start()
    for _ in range(3):
        pool.submit([another()])
        assert idle.acquire(timeout=60)
    assert pool.busy == 0
    assert [record.message for record in caplog.records] == ["Internal error while running job"] * 3
    pool.stop()


def test_its_threads_end_once_they_are_free() -> None:
    gate, performed = threading.Event(), []

    def perform(claim: Claim) -> None:
        gate.wait(60)
        performed.append(claim)

    pool = Pool(threads=2, perform=perform, on_room=lambda: None)
    before = set(threading.enumerate())
    pool.start()
    mine = set(threading.enumerate()) - before
    pool.submit([CLAIM])
    pool.stop()
    gate.set()
    eventually(lambda: not any(thread.is_alive() for thread in mine))
    assert performed == [CLAIM]


def test_short_jobs_are_taken_ahead_and_a_long_one_ends_that() -> None:
    seconds, done = [0.0], threading.Semaphore(0)
    pause = threading.Event()

    def perform(_: Claim) -> None:
        pause.wait(seconds[0])
        done.release()

    pool = Pool(threads=2, perform=perform, on_room=lambda: None)
    pool.start()
    for _ in range(600):
        pool.submit([another()])
        assert done.acquire(timeout=60)
    eventually(lambda: pool.room > 20)
    seconds[0] = 3
    pool.submit([another()])
    assert done.acquire(timeout=60)
    eventually(lambda: pool.room <= 5)
    pool.stop()


def test_what_no_thread_begins_is_taken_back() -> None:
    gate, started = threading.Event(), []

    def perform(claim: Claim) -> None:
        started.append(claim)
        gate.wait(60)

    pool = Pool(threads=1, perform=perform, on_room=lambda: None)
    pool.start()
    claims = [another() for _ in range(5)]
    pool.submit(claims)
    eventually(lambda: started == [claims[0]])
    assert pool.take_back(waiting_for=60) == []
    assert pool.take_back() == claims[1:]
    assert (pool.busy, pool.room) == (1, 0)
    gate.set()
    pool.stop()


def test_a_thread_that_does_not_come_back_is_replaced_and_ends_when_it_does() -> None:
    room, stuck, gate = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
    idents: list[int] = []

    def perform(_: Claim) -> None:
        idents.append(threading.get_ident())
        if len(idents) == 1:
            stuck.release()
            gate.wait(60)

    pool = Pool(threads=1, perform=perform, on_room=room.release)
    pool.start()
    pool.submit([another()])
    assert stuck.acquire(timeout=60)
    assert pool.busy == 1
    pool.replace(idents[0])
    assert (pool.busy, pool.lost) == (0, 1)
    pool.submit([another()])
    eventually(lambda: (len(idents), pool.busy) == (2, 0))
    assert idents[1] != idents[0]
    gate.set()
    eventually(lambda: (pool.lost, pool.busy) == (0, 0))
    assert room.acquire(timeout=60)
    pool.stop()


@pytest.mark.parametrize(
    ("seconds", "ahead"),
    [(0.001, 500), (0.025, 40), (0.1, 10), (0.19, 5), (0.3, 0), (5.0, 0)],
)
def test_the_next_claims_are_there_before_the_threads_are_free_unless_jobs_are_slow(
    seconds: float, ahead: int
) -> None:
    pool = Pool(threads=20, perform=lambda claim: None, on_room=lambda: None)
    pool._performed, pool._performing_seconds = 100, 100 * seconds
    assert abs(pool.room - (20 + ahead)) <= 1
    pool._outstanding = 20 + ahead
    assert pool.room == 0
    pool._outstanding = 20 + ahead * 3 // 4
    assert pool.room == 0  # more than half of what was taken ahead is there yet
    pool._outstanding = 20 + ahead * 2 // 5
    assert bool(pool.room) == bool(ahead)
