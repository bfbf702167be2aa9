"""The threads that perform: how many are free, and that no fault ends one."""

import threading
from queue import SimpleQueue
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
    assert [record.message for record in caplog.records] == ["Performing broke down"] * 3
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

    def ended() -> None:
        assert not any(thread.is_alive() for thread in mine)

    eventually(ended)
    assert performed == [CLAIM]


class Led:
    """A pool that is led by whoever hears of a claim; its jobs end when the gate opens."""

    def __init__(self, threads: int) -> None:
        self.told: SimpleQueue[Claim | None] = SimpleQueue()
        self.gate = threading.Event()
        self.leads: list[int] = []
        self.performs: list[tuple[int, Claim]] = []
        self.alone = threading.Lock()
        self.pool = Pool(threads=threads, perform=self._perform, on_room=lambda: None, lead=self._lead)
        self.pool.start()

    def _lead(self) -> Claim | None:
        self.leads.append(threading.get_ident())
        assert self.alone.acquire(blocking=False)
        try:
            while (claim := self.told.get()) is not None:
                if self.pool.keep():
                    return claim
                self.pool.submit([claim])
            return None
        finally:
            self.alone.release()

    def _perform(self, claim: Claim) -> None:
        self.performs.append((threading.get_ident(), claim))
        self.gate.wait(60)


def test_who_leads_performs_what_it_has_claimed_and_another_leads_on() -> None:
    led = Led(threads=2)
    claims = [another() for _ in range(4)]

    def idle() -> None:
        assert (led.pool._idle, len(led.leads)) == (2, 1)

    eventually(idle)
    for number, claim in enumerate(claims[:2], 1):
        led.told.put(claim)

        def handed_on(number: int = number) -> None:
            assert (led.pool.busy, len(led.leads), len(led.performs)) == (number, number + 1, number)

        eventually(handed_on)
    assert [thread for thread, _ in led.performs] == led.leads[:2]
    assert len(set(led.leads)) == 3
    # Nobody is free to lead in its place: what comes now waits in line.
    for claim in claims[2:]:
        led.told.put(claim)

    def in_line() -> None:
        assert (led.pool._outstanding, len(led.leads), len(led.performs)) == (4, 3, 2)

    eventually(in_line)
    led.gate.set()

    def performed() -> None:
        assert ({claim for _, claim in led.performs}, led.pool.busy) == (set(claims), 0)

    eventually(performed)
    led.told.put(None)
    led.pool.stop()


def test_somebody_leads_and_everything_is_performed_once_whoever_is_faster() -> None:
    others = set(threading.enumerate())
    led = Led(threads=3)
    mine = set(threading.enumerate()) - others
    led.gate.set()
    claims = [another() for _ in range(2000)]
    for claim in claims:
        led.told.put(claim)

    def performed() -> None:
        assert (len(led.performs), led.pool.busy) == (len(claims), 0)

    eventually(performed)
    assert {claim for _, claim in led.performs} == set(claims)
    assert len(mine) == 4
    led.told.put(None)
    led.pool.stop()

    def ended() -> None:
        assert not any(thread.is_alive() for thread in mine)

    eventually(ended)


def test_who_led_performs_nothing_once_nobody_is_to_lead() -> None:
    led = Led(threads=1)
    line = [another() for _ in range(3)]
    led.pool.submit(line)

    def begun() -> None:
        assert len(led.performs) == 1

    eventually(begun)
    former = next(thread for thread in threading.enumerate() if thread.ident == led.leads[0])
    led.told.put(None)

    def ended() -> None:
        assert not former.is_alive()

    eventually(ended)
    assert (len(led.performs), led.pool.take_back()) == (1, line[1:])
    led.gate.set()
    led.pool.stop()


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

    def ahead() -> None:
        assert pool.room > 20

    eventually(ahead)
    seconds[0] = 3
    pool.submit([another()])
    assert done.acquire(timeout=60)

    def not_ahead() -> None:
        assert pool.room <= 5

    eventually(not_ahead)
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

    def begun() -> None:
        assert started == [claims[0]]

    eventually(begun)
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

    def performed() -> None:
        assert (len(idents), pool.busy) == (2, 0)

    eventually(performed)
    assert idents[1] != idents[0]
    gate.set()

    def back() -> None:
        assert (pool.lost, pool.busy) == (0, 0)

    eventually(back)
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


def test_what_is_of_another_type_or_of_a_higher_priority_goes_before_what_waits() -> None:
    gate, performed = threading.Event(), []
    done = threading.Semaphore(0)

    begun = threading.Event()

    def perform(claim: Claim) -> None:
        begun.set()
        gate.wait(60)
        performed.append((claim.task_type, claim.priority))
        done.release()

    def of(task_type: str, priority: int = 0) -> Claim:
        return another()._replace(task_type=task_type, priority=priority)

    pool = Pool(threads=1, perform=perform, on_room=lambda: None)
    pool.start()
    pool.submit([of("begun")])
    assert begun.wait(60)
    pool.submit([of("flood"), of("flood"), of("flood", -1)])
    pool.submit([of("flood", 1), of("flood"), of("fresh"), of("fresh"), of("low", -1)])
    gate.set()
    for _ in range(9):
        assert done.acquire(timeout=60)
    pool.stop()
    assert performed == [
        ("begun", 0),
        ("flood", 1),
        ("fresh", 0),
        ("fresh", 0),
        ("flood", 0),
        ("flood", 0),
        ("flood", -1),
        ("flood", 0),
        ("low", -1),
    ]
