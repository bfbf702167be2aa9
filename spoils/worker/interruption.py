"""Raises an exception in another thread, but only while that thread runs a job's own code."""

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TypeVar

from spoils.job.outcome import Interrupted

LOCKING = (
    *("logging", "threading", "queue", "importlib", "concurrent"),
    *("sqlalchemy", "flask_sqlalchemy", "psycopg2"),
    *("spoils.log_format", "spoils.models", "spoils.db", "spoils.queue", "spoils.worker"),
)
"""Modules whose functions hold locks or state of the whole process. An exception between the acquiring of a lock and
the `try` that releases it would leave it locked, and every thread of the worker would hang."""
ACQUIRING = ("acquire", "_acquireLock", "_acquire_restore", "__enter__")
"""Functions of the standard library that have acquired a lock but not yet entered a `try`."""

Result = TypeVar("Result")


class Interruption:
    """Knows whether a thread runs user code, and interrupts it only then.

    Python raises such an exception between two bytecodes of the thread: code that waits in C (a sleep, a socket, a
    query) is interrupted when the wait ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._caller: CodeType | None = None
        self._sent = False
        self._postponed: type[Interrupted] | None = None

    def call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Call user code; only while it runs is this thread interrupted."""
        try:
            try:
                self.enter()
                return function(*arguments)
            finally:
                self.leave()
        except BaseException:
            self.leave()
            raise

    def enter(self) -> None:
        """This thread is about to run user code, which the caller of this function calls next."""
        with self._lock:
            self._thread = threading.get_ident()
            self._caller = sys._getframe(1).f_code

    def leave(self) -> None:
        """This thread has left user code. Call it again if it was itself interrupted, which happens at most once."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None and self._sent:
                # An exception that is still pending would be raised in our own code.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)

    def interrupt(self, kind: type[Interrupted], *, anywhere: bool = False) -> bool:
        """Raise `kind` in the user code, once; whether that was done.

        Not done outside user code, nor while the user code is in one of the `LOCKING` modules (with `anywhere`: while
        it acquires a lock). The caller tries again soon, and `raise_postponed` may come first.
        """
        # A thread that has slept keeps the interpreter for 5 ms (`sys.getswitchinterval`). So the other thread does not
        # move between the check of its stack and the exception.
        time.sleep(0.001)
        with self._lock:
            self._postponed = kind
            if self._thread is not None and not self._sent and self._may_be_sent(anywhere=anywhere):
                self._sent = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(kind)
                )
            return self._sent

    def raise_postponed(self) -> None:
        """Raise the postponed exception in this thread, which is at a safe place."""
        if self._postponed is None:
            return
        with self._lock:
            if self._thread != threading.get_ident() or self._sent:
                return
            self._sent = True
        raise self._postponed

    def _may_be_sent(self, *, anywhere: bool) -> bool:
        frame = sys._current_frames().get(self._thread or 0)
        if anywhere:
            return frame is None or frame.f_code.co_name not in ACQUIRING
        return not may_hold_lock(frame, self._caller)


def may_hold_lock(frame: FrameType | None, caller: CodeType | None) -> bool:
    """Whether the stack, down to the function `caller`, has a frame of one of the `LOCKING` modules."""
    while frame is not None and frame.f_code is not caller:
        if f"{frame.f_globals.get('__name__')}.".startswith(_PREFIXES):
            return True
        frame = frame.f_back
    return False


_PREFIXES = tuple(f"{name}." for name in LOCKING)
