"""A thread that does rounds: `tick()` does one and returns the seconds until the next."""

import random
import threading
import time
from collections.abc import Callable

from spoils.db.trouble import Trouble, log_error, log_success

FIRST_ERROR_SECONDS = 0.1
LONGEST_ERROR_SECONDS = 5.0


class Loop:
    """Owns the thread, the wake-up and the backing off after errors."""

    def __init__(
        self,
        *,
        name: str,
        tick: Callable[[], float],
        wait: Callable[[float], None] | None = None,
        interrupt: Callable[[], None] | None = None,
        longest_error_seconds: float = LONGEST_ERROR_SECONDS,
    ) -> None:
        """`wait` and `interrupt` replace the loop's own event where the thread waits on a socket."""
        self.name = name
        self._tick = tick
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._wait = wait or self._wait_for_wake
        self._interrupt = interrupt or self._wake
        self._longest_error_seconds = longest_error_seconds
        self._errors = 0
        self._trouble = Trouble(name)
        self._thread: threading.Thread | None = None
        self._ticking_since: float | None = None
        # A second start must start no second thread.
        self._starting = threading.Lock()

    def start(self) -> None:
        """Start the thread; a second start changes nothing."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Tick now rather than when the delay is over. Any thread may call it."""
        self._interrupt()

    @property
    def fallen(self) -> bool:
        """Whether the thread has ended though nobody stopped it."""
        return self._thread is not None and not self._stopping.is_set() and not self._thread.is_alive()

    @property
    def in_tick_seconds(self) -> float:
        """How long the present tick has been going on; 0 between two."""
        since = self._ticking_since
        return 0.0 if since is None else time.monotonic() - since

    def stop(self, timeout: float | None = None) -> bool:
        """End after the present tick; whether the thread has ended within `timeout` seconds."""
        self._stopping.set()
        self._interrupt()
        with self._starting:
            thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            delay = self._tick_safely()
            if delay > 0 and not self._stopping.is_set():
                self._wait_safely(delay)

    def _tick_safely(self) -> float:
        """Tick once; an error is logged, and waited out."""
        self._ticking_since = time.monotonic()
        try:
            delay = self._tick()
        except Exception as exc:  # noqa: BLE001 - it is logged
            log_error(self._trouble, exc)
            self._errors += 1
            pause = min(FIRST_ERROR_SECONDS * 2.0 ** min(self._errors - 1, 10), self._longest_error_seconds)
            return pause * (1 + 0.2 * random.random())  # noqa: S311 - jitter
        finally:
            self._ticking_since = None
        self._errors = 0
        log_success(self._trouble)
        return delay

    def _wait_safely(self, delay: float) -> None:
        try:
            self._wait(delay)
        except Exception as exc:  # noqa: BLE001 - it is logged, and the next tick meets it again
            log_error(self._trouble, exc)

    def _wake(self) -> None:
        if not self._woken.is_set():  # its lock would cost a busy worker more than this check
            self._woken.set()

    def _wait_for_wake(self, delay: float) -> None:
        self._woken.wait(delay)
        self._woken.clear()
