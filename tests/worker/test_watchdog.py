"""What the watchdog finds wrong with the loops that it looks at. `tests/faults` has the ending of the process."""

import threading
import time

import pytest

from spoils.worker.loop import Loop
from spoils.worker.watchdog import CHECK_SECONDS, HANGS_SECONDS, Performing, Stall, Watchdog
from tests.support import eventually


def quiet() -> float:
    return 3600.0


WELL = Performing(moved_at=0.0, waiting=0, free=5)
STUCK = Performing(moved_at=0.0, waiting=1, free=1)


def watchdog_of(*loops: Loop) -> Watchdog:
    return Watchdog(loops=loops, performing=lambda: WELL)


def test_loops_that_tick_are_nothing_to_complain_of() -> None:
    loop, still = Loop(name="one", tick=quiet), Loop(name="never started", tick=quiet)
    watching = watchdog_of(loop, still)
    loop.start()
    assert watching.complaint(0.0, awake=True) is None
    assert loop.stop(60)
    assert watching.complaint(0.0, awake=True) is None, "who was stopped has not fallen"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_by_itself_is_told_at_once() -> None:
    def fall(_: float) -> float:
        raise SystemExit

    loop = Loop(name="one", tick=quiet, wait=fall, interrupt=lambda: None)
    watching = watchdog_of(Loop(name="another", tick=quiet), loop)
    loop.start()
    eventually(lambda: watching.complaint(0.0, awake=False) == "The thread of the one has ended")


def test_a_call_that_hangs_is_told_unless_the_process_itself_was_frozen() -> None:
    gate, inside = threading.Event(), threading.Semaphore(0)

    def hang() -> float:
        inside.release()
        gate.wait(60)
        return 3600.0

    loops = [Loop(name=name, tick=hang) for name in ("one", "other")]
    for loop in loops:
        loop.start()
        assert inside.acquire(timeout=60)
    watching = watchdog_of(Loop(name="idle", tick=quiet), *loops)
    assert watching.complaint(0.0, awake=True) is None
    for loop in loops:
        loop._ticking_since = time.monotonic() - HANGS_SECONDS - 1
    assert (
        watching.complaint(0.0, awake=True)
        == "Database calls of the one and the other hang for more than 60 s"
    )
    assert watching.complaint(0.0, awake=False) is None
    gate.set()
    for loop in loops:
        assert loop.stop(60)


def stalled_at(*looks: Performing, awake: bool = True) -> float:
    """How long it has stood still at the last of these looks, which are a minute and a bit apart in all."""
    stall, now, seconds = Stall(), 1000.0, 0.0
    for look in looks:
        seconds = stall.seconds(look, now, awake=awake)
        now += CHECK_SECONDS
    return seconds


MINUTE = round(HANGS_SECONDS / CHECK_SECONDS) + 2


def test_claims_that_wait_beside_free_threads_for_a_minute_are_told() -> None:
    now = 1000.0
    watching = Watchdog(loops=[], performing=lambda: STUCK)
    told = [watching.complaint(now + look * CHECK_SECONDS, awake=True) for look in range(MINUTE)]
    assert told == [None] * (MINUTE - 1) + ["Claimed jobs have waited beside free threads for more than 60 s"]


@pytest.mark.parametrize(
    "well",
    [
        Performing(moved_at=0.0, waiting=3, free=0),
        Performing(moved_at=0.0, waiting=0, free=4),
        Performing(moved_at=0.0, waiting=0, free=0),
    ],
    ids=["long jobs on all threads", "a long job alone", "long jobs and nothing else"],
)
def test_long_jobs_are_well(well: Performing) -> None:
    assert stalled_at(*[well] * MINUTE * 3) == 0


def test_what_begins_ends_or_is_settled_meanwhile_shows_that_the_worker_is_well() -> None:
    moving = [STUCK._replace(moved_at=float(look)) for look in range(MINUTE)]
    assert stalled_at(*moving) == 0
    assert stalled_at(*[STUCK] * MINUTE, *moving, STUCK) < HANGS_SECONDS


def test_a_claim_that_has_just_come_to_a_worker_with_a_long_job_waits_since_then_only() -> None:
    assert stalled_at(*[WELL] * MINUTE, STUCK) < HANGS_SECONDS


def test_a_process_that_was_frozen_has_not_stalled() -> None:
    assert stalled_at(*[STUCK] * MINUTE, awake=False) == 0


def test_a_blocked_event_loop_ends_the_process_after_a_minute_unless_the_process_was_frozen() -> None:
    blocked = WELL._replace(blocked_seconds=HANGS_SECONDS + 1)
    watching = Watchdog(loops=[], performing=lambda: blocked)
    assert watching.complaint(0.0, awake=False) is None
    assert watching.complaint(0.0, awake=True) == "A job has blocked the event loop for more than 60 s"
    blocked = WELL._replace(blocked_seconds=HANGS_SECONDS - 1)
    assert watching.complaint(0.0, awake=True) is None
