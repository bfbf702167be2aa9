"""Raising an exception in another thread, but only while that thread is in a job's own code."""

import ctypes
import threading

from spoils.outcome import Interrupted


class Interruption:
    """The flag that says that a thread is in user code, and the lock under which alone it is interrupted.

    Python delivers such an exception between two bytecodes of the thread: code that waits in C (a sleep, a socket,
    a query) hears it when the wait ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._sent = False

    def enter(self) -> None:
        """This thread goes into user code."""
        with self._lock:
            self._thread = threading.get_ident()

    def leave(self) -> None:
        """This thread is back. Call it again where it was itself interrupted: that happens once at most."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None and self._sent:
                # What was sent and not heard yet would hit code of ours.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)

    def interrupt(self, kind: type[Interrupted]) -> bool:
        """Raise `kind` in the user code, once; whether it is in user code now."""
        with self._lock:
            if self._thread is None:
                return False
            if not self._sent:
                self._sent = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(kind)
                )
            return True
