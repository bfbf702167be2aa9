"""What the watchdog finds wrong with the loops that it looks at. `tests/faults` has the ending of the process."""

import threading
import time

import pytest

from spoils.worker import watchdog
from spoils.worker.loop import Loop
from spoils.worker.watchdog import Watchdog
from tests.support import eventually


def quiet() -> float:
    return 3600.0


def test_loops_that_tick_are_nothing_to_complain_of() -> None:
    loop, still = Loop(name="one", tick=quiet), Loop(name="never started", tick=quiet)
    watching = Watchdog(loops=[loop, still])
    loop.start()
    assert watching.complaint(awake=True) is None
    assert loop.stop(60)
    assert watching.complaint(awake=True) is None, "who was stopped has not fallen"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_by_itself_is_told_at_once() -> None:
    def fall(_: float) -> float:
        raise SystemExit

    loop = Loop(name="one", tick=quiet, wait=fall, interrupt=lambda: None)
    watching = Watchdog(loops=[Loop(name="another", tick=quiet), loop])
    loop.start()

    def told() -> None:
        assert watching.complaint(awake=False) == "The thread of the one has ended"

    eventually(told)


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
    watching = Watchdog(loops=[Loop(name="idle", tick=quiet), *loops])
    assert watching.complaint(awake=True) is None
    for loop in loops:
        loop._ticking_since = time.monotonic() - watchdog.HANGS_SECONDS - 1
    assert watching.complaint(awake=True) == "Database calls of the one and the other hang for more than 60 s"
    assert watching.complaint(awake=False) is None
    gate.set()
    for loop in loops:
        assert loop.stop(60)
