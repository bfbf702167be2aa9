"""Runs one worker process from start to stop."""

import gc
import logging
import os
import select
import signal
from contextlib import suppress
from types import FrameType

from spoils.config import Settings
from spoils.job.registry import Registry
from spoils.worker.heartbeat import resident_bytes
from spoils.worker.processes import RECYCLED, REGISTERED
from spoils.worker.shutdown import Shutdown
from spoils.worker.startup import WorkerParts

log = logging.getLogger("spoils.worker")

CHECK_SECONDS = 1.0
"""How often a worker checks whether it is to be recycled."""


class Supervisor:
    """One worker process. `run()` blocks until a signal, the end of its parent process, or an error of its own."""

    def __init__(
        self, *, settings: Settings, registry: Registry, database_url: str, parent: int | None = None
    ) -> None:
        """`parent` is the socket of a process that has a parent. The worker ends when it is closed, and writes a
        byte to it once it is registered, and once it is to be replaced.
        """
        self._settings = settings
        # A pipe, since a signal handler may not touch a lock that the interrupted code could hold.
        self._wake_reader, self._wake_writer = os.pipe()
        self._parent = parent
        self._until = [self._wake_reader] if parent is None else [self._wake_reader, parent]
        self._declared_dead = False
        self._threads_lost = False
        self._recycled = False
        self._parts = WorkerParts(
            settings=settings,
            registry=registry,
            database_url=database_url,
            on_registered=self._notify_parent,
            on_ended=self._on_declared_dead,
            on_threads_lost=self._lost_threads,
        )

    def run(self) -> int:
        """Start, work, stop. Returns the process's exit code."""
        # Python runs a handler only once the main thread wakes: a signal that another thread received, or that came
        # just before the select, would be missed. The wake-up descriptor is written at the moment of the signal.
        os.set_blocking(self._wake_writer, False)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        # Modules live as long as the process; a garbage collection that walks them stops every thread for 0.1 s.
        gc.collect()
        gc.freeze()
        self._parts.forks.watch()
        self._parts.start()
        while not self._is_asked_to_stop(CHECK_SECONDS):
            if why := self._worn():
                self._recycle(why)
                break
        Shutdown(
            self._parts,
            seconds=self._settings.shutdown_seconds,
            declared_dead=self._declared_dead,
            ended_how="recycled" if self._recycled else "clean",
        ).run()
        # Python removes its handlers while it exits; another signal would then kill the process instead of exit 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        return 1 if self._declared_dead or self._threads_lost else 0

    def _is_asked_to_stop(self, within_seconds: float) -> bool:
        return bool(select.select(self._until, [], [], within_seconds)[0])

    def _worn(self) -> str:
        """Why this process is to be replaced by another one; empty if it is not."""
        jobs, jobs_max = self._parts.settled, self._settings.worker_jobs_max
        if jobs_max is not None and jobs >= jobs_max:
            return f"after {jobs:,} jobs"
        size, mb_max = resident_bytes(), self._settings.worker_mb_max
        # Not before its first job: a limit below the size of an idle worker would replace it each second.
        if mb_max is not None and size is not None and jobs and size > mb_max * 1_000_000:
            return f"with {size / 1_000_000:,.0f} MB of memory, after {jobs:,} jobs"
        return ""

    def _recycle(self, why: str) -> None:
        """Claim nothing more, and wait for the jobs in hand, or for a signal."""
        self._recycled = True
        log.info(
            "Recycling this worker process %s: %d jobs in hand",
            why,
            len(self._parts.in_flight),
            extra={"action": "recycle", "worker_id": self._parts.worker_id},
        )
        self._write_to_parent(RECYCLED)
        self._parts.stop_claiming()
        while len(self._parts.in_flight) and not self._is_asked_to_stop(0.1):
            pass

    def is_ready(self) -> bool:
        """Whether other workers see this one, and it claims and writes outcomes."""
        parts = self._parts
        return (
            parts.heartbeat.registered.is_set()
            and parts.settler.writing.is_set()
            and not parts.heartbeat.draining
        )

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._ask_to_stop()

    def _notify_parent(self) -> None:
        self._write_to_parent(REGISTERED)

    def _write_to_parent(self, word: bytes) -> None:
        if self._parent is not None:
            os.set_blocking(self._parent, False)  # the parent may be slow to read it
            with suppress(OSError):
                os.write(self._parent, word)

    def _on_declared_dead(self) -> None:
        self._declared_dead = True
        self._parts.heartbeat.registered.clear()
        self._ask_to_stop()  # first: logging may hang
        log.error(
            "Declared dead by another worker; exiting",
            extra={"action": "stop", "worker_id": self._parts.worker_id},
        )

    def _lost_threads(self) -> None:
        self._threads_lost = True
        self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        # Repeated signals change nothing, and a full pipe wakes as well.
        with suppress(BlockingIOError):
            os.write(self._wake_writer, b"!")
