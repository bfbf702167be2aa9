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
from spoils.worker.shutdown import Shutdown
from spoils.worker.startup import WorkerParts

log = logging.getLogger("spoils.worker")


class Supervisor:
    """One worker process. `run()` blocks until a signal, the end of its parent process, or an error of its own."""

    def __init__(
        self, *, settings: Settings, registry: Registry, database_url: str, parent: int | None = None
    ) -> None:
        """`parent` is the socket of a process that has a parent. It ends when the parent does, and a byte is written to
        it each time that the worker begins to attend.
        """
        self._shutdown_seconds = settings.shutdown_seconds
        # A pipe, since a signal handler may not touch a lock that the interrupted code could hold.
        self._wake_reader, self._wake_writer = os.pipe()
        self._parent = parent
        self._until = [self._wake_reader] if parent is None else [self._wake_reader, parent]
        self._declared_dead = False
        self._threads_lost = False
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
        select.select(self._until, [], [])
        Shutdown(self._parts, seconds=self._shutdown_seconds, declared_dead=self._declared_dead).run()
        # Python removes its handlers while it exits; another signal would then kill the process instead of exit 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        return 1 if self._declared_dead or self._threads_lost else 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._ask_to_stop()

    def _notify_parent(self) -> None:
        if self._parent is not None:
            os.set_blocking(self._parent, False)  # the parent reads it only after the end of this process
            with suppress(OSError):
                os.write(self._parent, b"!")

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
