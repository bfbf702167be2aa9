"""The event loop that performs async jobs, in a thread of its own, and the thread that names a job that blocks it."""

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from spoils.models.base import running_unit
from spoils.queue.claim import Claim
from spoils.queue.settlement import Token
from spoils.worker.attempt import Attempt
from spoils.worker.forks import end_forked_process
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

TICK_SECONDS = 0.1
WATCH_SECONDS = 0.25
BLOCKED_SECONDS = 1.0 + TICK_SECONDS
"""A loop that has not ticked for this long has been blocked for over a second."""
BUSY_SECONDS = 0.5
"""A loop that has not ticked for this long gets no claims."""
LONGEST_STACK = 5_000


class EventLoop:
    """Performs up to `places` claims at once, with the methods of `Pool`. Nothing is prefetched."""

    def __init__(
        self,
        *,
        places: int,
        perform: Callable[[Claim], Coroutine[Any, Any, None]],
        on_room: Callable[[], None],
    ) -> None:
        self.size = places
        self._perform = perform
        self._on_room = on_room
        self._waiting: deque[Claim] = deque()
        self._tasks: set[asyncio.Task[None]] = set()  # asyncio itself would not keep them
        self._lock = threading.Lock()
        self._outstanding = 0
        self._lost: set[Token] = set()
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(_job_task)
        self._thread = threading.Thread(target=self._run, name="event loop", daemon=True)
        self._stopping = False
        self._process = os.getpid()
        self._ticked_at = self._watched_at = time.monotonic()
        self._used_seconds = 0.0  # of the processor, by the loop's thread, at its last tick
        self._named_at = 0.0
        self.moved_at = 0.0
        """When a job last began or ended."""
        self.watch = Loop(name="event loop watch", tick=self._watch)

    def start(self) -> None:
        """Start the thread, and the one that watches it."""
        self._loop.call_soon_threadsafe(self._tick)
        self._thread.start()
        self.watch.start()

    @property
    def room(self) -> int:
        """How many more claims to take; none while a job blocks the loop."""
        return 0 if self.blocked_seconds > BUSY_SECONDS else max(0, self.size - self._outstanding)

    @property
    def busy(self) -> int:
        """How many jobs it performs."""
        return min(self._outstanding, self.size)

    @property
    def lost(self) -> int:
        """How many jobs were given up and have not ended."""
        return len(self._lost)

    @property
    def blocked_seconds(self) -> float:
        """For how long the loop has not ticked."""
        return time.monotonic() - self._ticked_at

    def submit(self, claims: Sequence[Claim]) -> None:
        """Perform claims; the caller has looked at `room`."""
        if claims:
            with self._lock:
                self._outstanding += len(claims)
            self._waiting.extend(claims)
            self._loop.call_soon_threadsafe(self._begin)

    def take_back(self, *, waiting_for: float = 0.0) -> list[Claim]:
        """What has not begun, if the loop has been blocked for this many seconds."""
        if not self._waiting or self.blocked_seconds < waiting_for:
            return []
        taken = []
        while (claim := self._next()) is not None:
            taken.append(claim)
        with self._lock:
            self._outstanding -= len(taken)
        return taken

    def replace(self, token: Token) -> None:
        """Give up a claim whose job does not end, and let another one have its place."""
        with self._lock:
            self._lost.add(token)
            self._outstanding -= 1
        self._on_room()

    def stop(self) -> None:
        """End the threads. Returns at once."""
        self.watch.stop(0)
        self._stopping = True
        self._loop.call_soon_threadsafe(self._loop.stop)

    def leave_to_parent(self) -> None:
        """In a process that a job has forked: end it when the job awaits, instead of going on with all other jobs."""
        self._loop._ready.clear()  # type: ignore[attr-defined]
        self._loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._stopping:
            try:
                self._loop.run_forever()
            except BaseException:
                # asyncio lets SystemExit and KeyboardInterrupt of a task that a job has started end the loop.
                if os.getpid() == self._process:
                    log.exception("A job has interrupted the event loop", extra={"action": "perform"})
            if os.getpid() != self._process:
                end_forked_process(None)
        if not self._tasks:  # those of jobs that do not end would complain
            self._loop.close()

    def _tick(self) -> None:
        self._ticked_at, self._used_seconds = time.monotonic(), time.thread_time()
        self._loop.call_later(TICK_SECONDS, self._tick)

    def _next(self) -> Claim | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _begin(self) -> None:
        while (claim := self._next()) is not None:
            task = self._loop.create_task(self._perform_one(claim))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _perform_one(self, claim: Claim) -> None:
        self.moved_at = time.monotonic()
        try:
            await self._perform(claim)
        finally:
            self.moved_at = time.monotonic()
            with self._lock:
                if claim.token in self._lost:
                    self._lost.discard(claim.token)  # another job has its place
                else:
                    self._outstanding -= 1
            self._on_room()

    def _watch(self) -> float:
        now, ticked_at = time.monotonic(), self._ticked_at
        awake, self._watched_at = now - self._watched_at < 2 * WATCH_SECONDS, now
        blocked = now - ticked_at > BLOCKED_SECONDS and ticked_at != self._named_at
        # If this thread is late too, the process was frozen, or a thread held the interpreter: that of the loop, if it
        # used the processor meanwhile.
        if blocked and (awake or _processor_seconds(self._thread.native_id) - self._used_seconds > 1.0):
            self._named_at = ticked_at
            self._name_what_blocks()
        return WATCH_SECONDS

    def _name_what_blocks(self) -> None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread.ident or 0)
        attempt = task.attempt if isinstance(task, _JobTask) else None
        log.warning(
            "%s blocks the event loop; all async jobs of this worker wait for it:\n%s",
            "A callback" if attempt is None else type(attempt.job).__name__,
            "".join(traceback.format_stack(frame))[-LONGEST_STACK:],
            extra={"action": "perform"} | ({"task_id": attempt.claim.key} if attempt else {}),
        )


def _processor_seconds(thread: int | None) -> float:
    """How long a thread has used the processor; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _JobTask(asyncio.Task[Any]):
    """A task that names the attempt that has started it."""

    attempt: Attempt | None = None


def _job_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> _JobTask:
    task = _JobTask(coroutine, loop=loop, **options)
    unit = running_unit.get()
    task.attempt = unit if isinstance(unit, Attempt) else None
    return task
