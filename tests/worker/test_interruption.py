"""When an interruption is sent at all. Threads that hear one are in `tests/process/test_interruption.py`."""

import importlib.abc
import sys
import threading
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from spoils.job import Done, Job, Outcome, Queue, around
from spoils.job.hooks import run_with_hooks
from spoils.job.outcome import Interrupted, TimedOut
from spoils.worker.interruption import Interruption, may_hold_lock
from tests.support import eventually


def test_a_thread_that_is_in_no_user_code_is_not_interrupted() -> None:
    interruption = Interruption()
    assert not interruption.interrupt(Interrupted)
    interruption.enter()
    interruption.leave()
    assert not interruption.interrupt(Interrupted)
    interruption.raise_postponed()


def test_what_is_sent_to_a_thread_that_has_ended_hits_nobody() -> None:
    interruption = Interruption()
    gone = threading.Thread(target=interruption.enter)
    gone.start()
    gone.join()
    assert interruption.interrupt(Interrupted)
    assert interruption.interrupt(Interrupted)  # sent once
    interruption.leave()


def test_a_job_may_be_interrupted_also_where_functions_are_around_it() -> None:
    class FrameJob(Job):
        def run(self, queue: Queue) -> Outcome:
            return Done(not may_hold_lock(sys._getframe(), perform.__code__))

    @around
    def function(job: Job, queue: Queue, call: Any) -> Any:
        return call()

    def perform() -> object:
        return run_with_hooks(FrameJob(), SimpleNamespace())

    assert perform() == Done(True)


class InAnEvent:
    """User code that waits for an event, whose condition has a lock, and then logs a line."""

    def __init__(self) -> None:
        self.interruption = Interruption()
        self.gate = threading.Event()
        self.heard: list[BaseException | None] = []
        self.thread = threading.Thread(target=self.perform)
        self.thread.start()

    def perform(self) -> None:
        self.interruption.enter()
        try:
            self.run()
            self.heard.append(None)
        except Interrupted as exc:
            self.heard.append(exc)
        finally:
            self.interruption.leave()

    def run(self) -> None:
        self.gate.wait(60)
        self.interruption.raise_postponed()

    def wait_until_it_waits(self) -> None:
        def waits() -> None:
            frame = sys._current_frames()[self.thread.ident or 0]
            assert frame.f_code.co_name == "wait"

        eventually(waits)

    def end(self) -> None:
        self.gate.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


def test_a_thread_that_may_hold_a_lock_is_interrupted_where_it_holds_none() -> None:
    job = InAnEvent()
    job.wait_until_it_waits()
    assert not job.interruption.interrupt(TimedOut)
    assert not job.interruption.interrupt(TimedOut)
    job.interruption.raise_postponed()  # another thread's
    job.end()
    (heard,) = job.heard
    assert isinstance(heard, TimedOut)
    assert job.interruption.interrupt(TimedOut)
    job.interruption.raise_postponed()


def test_a_thread_that_takes_a_lock_is_interrupted_nowhere() -> None:
    class Lock:
        def __init__(self) -> None:
            self.gate = threading.Lock()
            self.gate.acquire()

        def acquire(self) -> None:
            self.gate.acquire()

    lock, interruption = Lock(), Interruption()

    def perform() -> None:
        interruption.enter()
        lock.acquire()
        interruption.leave()

    thread = threading.Thread(target=perform)
    thread.start()
    eventually(lambda: sys._current_frames()[thread.ident or 0].f_code.co_name == "acquire")
    assert not interruption.interrupt(TimedOut, anywhere=True)
    lock.gate.release()
    thread.join(60)
    assert not thread.is_alive()


def test_a_thread_that_nobody_interrupts_raises_nothing() -> None:
    job = InAnEvent()
    job.wait_until_it_waits()
    job.end()
    assert job.heard == [None]


LOCKING = ["logging", "logging.handlers", "importlib._bootstrap", "sqlalchemy.pool.impl", "spoils.db.held"]


@pytest.mark.parametrize("name", [*LOCKING, "logbook", "spoils.builtin.cleanup", "queues", "__main__", None])
def test_modules_that_hold_locks_are_told_by_their_names(name: str | None) -> None:
    module: dict[str, Any] = {"__name__": name}
    exec("import sys\ndef run(): return sys._getframe()", module)
    frame = module["run"]()
    assert may_hold_lock(frame, None) is (name in LOCKING)
    assert not may_hold_lock(frame, frame.f_code)


def test_a_module_that_is_being_imported_holds_its_lock() -> None:
    assert may_hold_lock(_frame_of_an_import(), None)


def _frame_of_an_import() -> FrameType:
    frames: list[FrameType] = []

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, *_: object) -> None:
            frames.append(sys._getframe(1))

    sys.meta_path.insert(0, finder := Finder())
    try:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("no_such_module_anywhere")
    finally:
        sys.meta_path.remove(finder)
    return frames[0]
