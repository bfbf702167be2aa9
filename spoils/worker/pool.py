"""The threads that perform claims."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from queue import Empty, SimpleQueue

from spoils.queue.claim import Claim

log = logging.getLogger("spoils.worker")

PREFETCH_SECONDS = 0.05
"""Claims are prefetched only as far as the threads will start them within this time."""
SLOW_SECONDS = 0.2
"""Jobs that take longer are not prefetched."""
MOST_PREFETCHED = 500
LONG_SECONDS = 0.1
"""A job that takes longer is no short job that had to wait for the interpreter."""
REMEMBERED = 500
"""How many performed claims the average run time covers."""
UNKNOWN_SECONDS = 1.0


class Pool:
    """A fixed number of threads over one queue of claims; it knows how many more they would start soon.

    `perform` is called once for each claim, in a thread that is `at_work`; `on_room` when a claim would be welcome.
    """

    def __init__(
        self,
        *,
        threads: int,
        perform: Callable[[Claim], None],
        on_room: Callable[[], None],
        at_work: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.size = threads
        self._perform = perform
        self._on_room = on_room
        self._at_work = at_work
        self._waiting: SimpleQueue[Claim | None] = SimpleQueue()  # None ends the thread that takes it
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._outstanding = 0
        self._performed = 1
        self._performing_seconds = UNKNOWN_SECONDS
        self._lost: set[int] = set()
        self.moved_at = 0.0
        """When a thread last began or ended to perform a claim, or a claim came to a free one."""

    def start(self) -> None:
        """Start the threads."""
        for _ in range(self.size):
            self._start_one()

    @property
    def room(self) -> int:
        """How many more claims to take: one for each free thread, and what short jobs allow to prefetch."""
        prefetch = self._prefetch
        prefetched = self._outstanding - self.size
        if prefetched >= 0 and prefetched * 2 > prefetch:
            return 0  # half of what was prefetched is still there: one larger claim costs less than two small ones
        return max(0, prefetch - prefetched)

    @property
    def busy(self) -> int:
        """How many threads perform."""
        return min(self._outstanding, self.size)

    @property
    def lost(self) -> int:
        """How many threads were given up and have not come back."""
        return len(self._lost)

    def submit(self, claims: Sequence[Claim]) -> None:
        """Perform claims, in their order; the caller has looked at `room`."""
        if not claims:
            return
        with self._lock:
            if self._outstanding < self.size:
                self.moved_at = time.monotonic()
            self._outstanding += len(claims)
        for one in claims:
            self._waiting.put(one)

    def take_back(self, *, waiting_for: float = 0.0) -> list[Claim]:
        """What no thread has begun, if none has begun anything for this many seconds: all are at long jobs."""
        if self._waiting.empty() or time.monotonic() - self.moved_at < waiting_for:
            return []
        taken: list[Claim] = []
        try:
            while (one := self._waiting.get_nowait()) is not None:
                taken.append(one)
        except Empty:
            pass
        with self._lock:
            self._outstanding -= len(taken)
            # Whatever the last jobs took, the next ones take long.
            self._performed, self._performing_seconds = 1, UNKNOWN_SECONDS
        return taken

    def replace(self, thread: int) -> None:
        """Give up a thread (its ident) that does not come back from a job, and start another in its place."""
        with self._lock:
            self._lost.add(thread)
            self._outstanding -= 1
        self._start_one()
        self._on_room()

    def stop(self) -> None:
        """Let each thread end once it is free and nothing waits. Returns at once."""
        for _ in range(self.size):
            self._waiting.put(None)

    @property
    def _prefetch(self) -> int:
        typical = self._performing_seconds / self._performed
        if typical > SLOW_SECONDS:
            return 0
        return min(int(self.size * PREFETCH_SECONDS / max(typical, 1e-6)), MOST_PREFETCHED)

    def _start_one(self) -> None:
        threading.Thread(target=self._run, name=f"perform-{next(self._numbers)}", daemon=True).start()

    def _run(self) -> None:
        with self._at_work():
            while (claim := self._waiting.get()) is not None:
                started = self.moved_at = time.monotonic()
                try:
                    self._perform(claim)
                except BaseException:
                    # The performer makes an outcome of all that user code raises; this is a fault of our own.
                    log.exception(
                        "Internal error while running job", extra={"action": "perform", "task_id": claim.key}
                    )
                self.moved_at = time.monotonic()
                if not self._done(self.moved_at - started):
                    return
                if self.room:
                    self._on_room()

    def _done(self, seconds: float) -> bool:
        """Count a performed claim; whether this thread goes on."""
        with self._lock:
            if self._lost and threading.get_ident() in self._lost:
                self._lost.discard(threading.get_ident())
                return False  # another thread has taken this one's place
            self._outstanding -= 1
            # Quick to believe that jobs are long, slow to believe that they are short.
            if seconds > LONG_SECONDS:
                self._performed, self._performing_seconds = 1, seconds
            else:
                self._performed += 1
                self._performing_seconds += seconds
            if self._performed >= REMEMBERED:
                self._performed //= 2
                self._performing_seconds /= 2
        return True
