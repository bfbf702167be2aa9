"""The threads that perform, one of which leads."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue

from spoils.queue.claim import Claim

log = logging.getLogger("spoils.worker")

AHEAD_SECONDS = 0.05
"""Claims are taken ahead only as far as the threads will start them within this time."""
SLOW_SECONDS = 0.2
"""Of jobs that take longer none is taken ahead: it would start in time as a rule only, and else wait here."""
MOST_AHEAD = 500
REMEMBERED = 500
"""So many performed claims tell how long the next ones will take."""
LONG_SECONDS = 0.1
"""What takes longer is no short job that had to wait for the interpreter."""
UNKNOWN_SECONDS = 1.0


class Pool:
    """A fixed number of threads over one line of claims; it knows how many more they would start soon.

    `perform` is called once for each claim, in a thread that is `at_work`; `on_room` when a claim would be welcome.
    One thread more is in `lead`, which hears of tasks and claims them. Where that returns a claim, the thread performs
    it, and another one leads: what somebody waits for need not wait for a thread to wake.
    """

    def __init__(
        self,
        *,
        threads: int,
        perform: Callable[[Claim], None],
        on_room: Callable[[], None],
        at_work: Callable[[], AbstractContextManager[object]] = nullcontext,
        lead: Callable[[], Claim | None] | None = None,
    ) -> None:
        self._perform = perform
        self._on_room = on_room
        self._at_work = at_work
        self._lead = lead
        self._leaderless = lead is not None
        self._line: deque[Claim] = deque()
        # Threads sleep here only while the line is empty: a thread that is awake takes from the line without a lock.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._lock = threading.Lock()
        self._size = threads
        self._idle = 0
        self._outstanding = 0
        self._performed = 1
        self._performing_seconds = UNKNOWN_SECONDS
        self._last_start = 0.0
        self.moved_at = 0.0
        """When a thread last began or ended to perform a claim."""
        self._lost: set[int] = set()
        self._asks_at = threads
        self._started = 0
        self._stopping = False

    def start(self) -> None:
        """Start the threads."""
        for _ in range(self._size + (self._lead is not None)):
            self._start_one()

    @property
    def room(self) -> int:
        """How many more claims to take: as many as there are free threads, and what short jobs allow ahead."""
        wanted = self._wanted()
        outstanding = self._outstanding
        if outstanding >= self._size and (outstanding - self._size) * 2 > wanted - self._size:
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
        """Hand over claims, in their order; the caller has looked at `room`.

        What goes before all that waits here goes first: else the one task of a type would wait for a flood once more.
        """
        with self._lock:
            if self._outstanding < self._size:
                self._last_start = time.monotonic()
            first, then = _parted(claims, self._line)
            self._outstanding += len(claims)
            self._line.extendleft(reversed(first))
            self._line.extend(then)
            self._ring(min(self._idle, len(claims)))
        self._asks_at = (self._size + self._wanted()) // 2

    def keep(self) -> bool:
        """Let the thread that leads keep the one claim that it made, if another is free to lead; it then counts as
        submitted."""
        with self._lock:
            if self._lead is None or not self._idle or self._line:  # what waits goes first
                return False
            self._outstanding += 1
            self._last_start = time.monotonic()
        return True

    def take_back(self, *, waiting_for: float = 0.0) -> list[Claim]:
        """What no thread has begun, if none has begun anything for so many seconds: all are at long jobs."""
        if not self._line or time.monotonic() - self._last_start < waiting_for:
            return []
        taken: list[Claim] = []
        try:
            while True:
                taken.append(self._line.popleft())
        except IndexError:
            pass
        with self._lock:
            self._outstanding -= len(taken)
            # Whatever the last ones took, the next ones take long.
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
        """Let each thread end once it is free. Nothing is waited for."""
        with self._lock:
            self._stopping = True
            self._ring(self._idle)

    def _wanted(self) -> int:
        typical = self._performing_seconds / self._performed
        if typical > SLOW_SECONDS:
            return self._size
        return self._size + min(int(self._size * AHEAD_SECONDS / max(typical, 1e-6)), MOST_AHEAD)

    def _start_one(self) -> None:
        self._started += 1
        threading.Thread(target=self._run, name=f"perform-{self._started}", daemon=True).start()

    def _run(self) -> None:
        with self._at_work():
            while (claim := self._next()) is not None:
                started = self._last_start = self.moved_at = time.monotonic()
                try:
                    self._perform(claim)
                except BaseException:
                    # The performer makes an outcome of all that user code raises; this is a fault of our own.
                    log.exception("Performing broke down", extra={"action": "perform", "task_id": claim.key})
                self.moved_at = time.monotonic()
                if not self._done(self.moved_at - started):
                    return
                # To look after each job what is wanted would take a twentieth of the time of a short one.
                if self._outstanding <= self._asks_at and self.room:
                    self._on_room()

    def _next(self) -> Claim | None:
        """The next claim of the line, as soon as there is one; None when there will be none any more."""
        while True:
            if self._leaderless and self._takes_the_lead():
                return self._led()
            try:
                return self._line.popleft()
            except IndexError:
                pass
            with self._lock:
                if self._stopping and not self._line:
                    return None
                if self._line or self._leaderless:
                    continue
                self._idle += 1
            self._bell.get()

    def _takes_the_lead(self) -> bool:
        with self._lock:
            free, self._leaderless = self._leaderless, False
        return free

    def _led(self) -> Claim | None:
        """Lead, to a claim of this thread's own. None once nobody is to lead any more: the others perform on."""
        claim = self._lead() if self._lead else None
        if claim is not None:
            with self._lock:
                self._leaderless = True
                self._ring(min(self._idle, 1))
        return claim

    def _ring(self, times: int) -> None:
        self._idle -= times
        for _ in range(times):
            self._bell.put(None)

    def _done(self, seconds: float) -> bool:
        """Count a performed claim; whether this thread goes on."""
        with self._lock:
            if self._lost and threading.get_ident() in self._lost:
                self._lost.discard(threading.get_ident())
                return False  # another thread has taken this one's place
            self._outstanding -= 1
            if seconds > LONG_SECONDS:
                # Quick to believe that jobs are long, slow to believe that they are short.
                self._performed, self._performing_seconds = 1, seconds
            else:
                self._performed += 1
                self._performing_seconds += seconds
            if self._performed >= REMEMBERED:
                self._performed //= 2
                self._performing_seconds /= 2
        return True


def _parted(claims: Sequence[Claim], line: deque[Claim]) -> tuple[list[Claim], list[Claim]]:
    """Those that are of a higher priority than all that waits, or as high and of a type that does not at that; the
    others."""
    # Copied at once, since threads take from the line meanwhile: a list is made before it is read, a tuple is not.
    waiting = {(one.priority, one.task_type) for one in list(line)}
    if not waiting:
        return [], list(claims)
    highest = max(waiting)[0]
    first: list[Claim] = []
    then: list[Claim] = []
    for one in claims:
        goes_first = one.priority >= highest and (one.priority, one.task_type) not in waiting
        (first if goes_first else then).append(one)
    return first, then
