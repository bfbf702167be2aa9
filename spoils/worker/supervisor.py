"""A worker process: started, awake until it is told to stop, stopped."""

import gc
import logging
import os
import select
import signal
from contextlib import suppress
from types import FrameType

from spoils.config import Settings
from spoils.job.registry import Registry
from spoils.worker.rooms import Rooms
from spoils.worker.shutdown import Shutdown

log = logging.getLogger("spoils.worker")


class Supervisor:
    """One worker process. `run()` blocks until a signal, the end of its parent, or a reason of its own to end."""

    def __init__(
        self, *, settings: Settings, registry: Registry, database_url: str, parent: int | None = None
    ) -> None:
        """`parent` is the socket of a process that has a parent. It ends when the parent does, and a byte is written to
        it each time that the worker begins to attend.
        """
        self._shutdown_seconds = settings.shutdown_seconds
        # A pipe, since a signal handler may not touch a lock that the interrupted code could hold.
        self._ear, self._mouth = os.pipe()
        self._parent = parent
        self._until = [self._ear] if parent is None else [self._ear, parent]
        self._disowned = False
        self._crippled = False
        self._rooms = Rooms(
            settings=settings,
            registry=registry,
            database_url=database_url,
            on_attending=self._tell_parent,
            on_ended=self._declared_dead,
            on_crippled=self._lost_threads,
        )

    def run(self) -> int:
        """Start, work, stop. Returns the process's exit code."""
        # Python runs a handler only once the main thread wakes: a signal that another thread took, or that came just
        # before the select, would never be heard. The wake-up descriptor is written in the moment of the signal.
        os.set_blocking(self._mouth, False)
        signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        # What was loaded lives as long as the process; a collection that walked it would stop every thread for a tenth
        # of a second, just when work has begun to come in.
        gc.collect()
        gc.freeze()
        self._rooms.forks.watch()
        self._rooms.start()
        select.select(self._until, [], [])
        Shutdown(self._rooms, seconds=self._shutdown_seconds, disowned=self._disowned).run()
        # While Python ends it takes its handlers away, and one more signal would be death by a signal, not exit 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        return 1 if self._disowned or self._crippled else 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._ask_to_stop()

    def _tell_parent(self) -> None:
        if self._parent is not None:
            os.set_blocking(self._parent, False)  # the parent reads it only after the end of this process
            with suppress(OSError):
                os.write(self._parent, b"!")

    def _declared_dead(self) -> None:
        self._disowned = True
        self._rooms.presence.attending.clear()
        self._ask_to_stop()  # first: even the log may hang
        log.error(
            "This worker was taken for dead and its tasks were given to others: it ends now",
            extra={"action": "stop", "worker_id": self._rooms.worker_id},
        )

    def _lost_threads(self) -> None:
        self._crippled = True
        self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        # Asked again and again, it stays one stop; a full pipe wakes as well.
        with suppress(BlockingIOError):
            os.write(self._mouth, b"!")
