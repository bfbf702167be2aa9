"""Rounds of one thread at a time: `tick()` does one and returns the seconds until the next."""

import random
import threading
import time
from collections.abc import Callable

from spoils.db.trouble import Trouble, log_error, log_success

FIRST_ERROR_SECONDS = 0.1
LONGEST_ERROR_SECONDS = 5.0


class Loop:
    """Owns the rounds, the wake-up and the backing off after errors, so that a room is only its `tick`."""

    def __init__(
        self,
        *,
        name: str,
        tick: Callable[[], float],
        wait: Callable[[float], float] | None = None,
        interrupt: Callable[[], None] | None = None,
        longest_error_seconds: float = LONGEST_ERROR_SECONDS,
    ) -> None:
        """`wait` and `interrupt` take the place of the loop's own event for a room that waits on a socket. `wait`
        returns for how many seconds to wait on: 0 where it is time to tick.
        """
        self.name = name
        self._tick = tick
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._wait = wait or self._wait_for_wake
        self._interrupt = interrupt or self._wake
        self._longest_error_seconds = longest_error_seconds
        self._errors = 0
        self._trouble = Trouble(name)
        self._delay = 0.0
        self._let_go = False
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._ticking_since: float | None = None
        # A second start must start no second thread.
        self._starting = threading.Lock()

    def start(self) -> None:
        """Run it in a thread of its own; a loop is started once, and a second start changes nothing."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self.run, name=self.name, daemon=True)
                self._thread.start()

    def run(self) -> None:
        """Run it in this thread, until it is stopped or a round lets go of it; who runs it next goes on from there."""
        self._thread = threading.current_thread()
        self._let_go = False
        try:
            while not self._stopping.is_set() and not self._let_go:
                self._round()
        finally:
            if not self._let_go:  # else who stops it waits for the one who runs it next
                self._ended.set()

    def let_go(self) -> None:
        """Let `run` return after this round, which calls it: another thread is to run the loop."""
        self._let_go = True

    def begin(self) -> None:
        """What `wait` does from now on counts as a tick."""
        self._ticking_since = time.monotonic()

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
        """End after the present tick; whether nobody runs it any more within `timeout` seconds."""
        self._stopping.set()
        self._interrupt()
        if self._thread is None or self._thread is threading.current_thread():
            return True
        return self._ended.wait(timeout)

    def _round(self) -> None:
        if self._delay > 0:
            self._delay = self._safely(self._wait, self._delay)
        else:
            self.begin()
            self._delay = self._safely(self._tick)
        self._ticking_since = None

    def _safely(self, step: Callable[..., float], *arguments: float) -> float:
        """Do one step; what it raises is logged, and waited out unless it is the waiting itself that fails."""
        try:
            delay = step(*arguments)
        except Exception as exc:  # noqa: BLE001 - it is logged
            self._errors += 1
            pause = min(FIRST_ERROR_SECONDS * 2.0 ** min(self._errors - 1, 10), self._longest_error_seconds)
            log_error(self._trouble, exc)
            return pause * (1 + 0.2 * random.random()) if step == self._tick else 0.0  # noqa: S311 - jitter
        if step == self._tick:
            self._errors = 0
            log_success(self._trouble)
        return delay

    def _wake(self) -> None:
        if not self._woken.is_set():  # its lock would cost a busy worker more than this look
            self._woken.set()

    def _wait_for_wake(self, delay: float) -> float:
        self._woken.wait(delay)
        self._woken.clear()
        return 0.0
