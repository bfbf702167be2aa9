"""The threads that perform."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from spoils.queue.claim import Claim

log = logging.getLogger("spoils.worker")

AHEAD_SECONDS = 0.05
"""Claims are taken ahead only as far as the threads will start them within this time."""
MOST_AHEAD = 500
UNKNOWN_SECONDS = 1.0


class Pool:
    """A fixed number of threads over one queue; it knows how much more it would start soon, and says when it is more.

    `perform` is called once for each claim; `on_room` when a claim would be welcome.
    """

    def __init__(
        self, *, threads: int, perform: Callable[[Claim], None], on_room: Callable[[], None]
    ) -> None:
        self._perform = perform
        self._on_room = on_room
        self._claims: SimpleQueue[Claim | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._size = threads
        self._outstanding = 0
        self._typical_seconds = UNKNOWN_SECONDS
        self._last_start = 0.0
        self._lost: set[int] = set()
        self._started = 0

    def start(self) -> None:
        """Start the threads."""
        for _ in range(self._size):
            self._start_one()

    @property
    def room(self) -> int:
        """How many more claims to take: as many as there are free threads, and what short jobs allow ahead."""
        wanted = self._wanted()
        outstanding = self._outstanding
        if outstanding >= self._size and outstanding * 2 > wanted:
            return 0  # half of what was taken ahead is still there: one larger claim costs less than two small ones
        return max(0, wanted - outstanding)

    @property
    def busy(self) -> int:
        """How many threads perform."""
        return min(self._outstanding, self._size)

    @property
    def lost(self) -> int:
        """How many threads were given up and have not come back."""
        return len(self._lost)

    def submit(self, claims: Sequence[Claim]) -> None:
        """Hand over claims, in their order; the caller has looked at `room`."""
        with self._lock:
            if self._outstanding < self._size:
                self._last_start = time.monotonic()
            self._outstanding += len(claims)
        for claim in claims:
            self._claims.put(claim)

    def take_back(self, *, waiting_for: float = 0.0) -> list[Claim]:
        """What no thread has begun, if none has begun anything for so many seconds: all are at long jobs."""
        if self._claims.empty() or time.monotonic() - self._last_start < waiting_for:
            return []
        taken: list[Claim] = []
        try:
            while (claim := self._claims.get_nowait()) is not None:
                taken.append(claim)
            self._claims.put(None)
        except Empty:
            pass
        with self._lock:
            self._outstanding -= len(taken)
        return taken

    def replace(self, thread: int) -> None:
        """Give up a thread (its ident) that does not come back from a job, and start another in its place."""
        with self._lock:
            self._lost.add(thread)
            self._outstanding -= 1
        self._start_one()
        self._on_room()

    def stop(self) -> None:
        """Let each thread end once it is free. Nothing is waited for."""
        for _ in range(self._size):
            self._claims.put(None)

    def _wanted(self) -> int:
        return self._size + min(int(self._size * AHEAD_SECONDS / self._typical_seconds), MOST_AHEAD)

    def _start_one(self) -> None:
        self._started += 1
        threading.Thread(target=self._run, name=f"perform-{self._started}", daemon=True).start()

    def _run(self) -> None:
        while (claim := self._claims.get()) is not None:
            started = self._last_start = time.monotonic()
            try:
                self._perform(claim)
            except BaseException:
                # The performer makes an outcome of all that user code raises; this is a fault of our own.
                log.exception("Performing broke down", extra={"action": "perform", "task_id": claim.id})
            if not self._done(time.monotonic() - started):
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
            weight = 0.5 if seconds > self._typical_seconds else 0.1
            self._typical_seconds += weight * (seconds - self._typical_seconds)
        return True
