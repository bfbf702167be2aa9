"""The threads that perform."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from spoils.queue.claim import Claim

log = logging.getLogger("spoils.worker")


class Pool:
    """A fixed number of threads over one queue; it knows how many are free and says so when one becomes it."""

    def __init__(
        self, *, threads: int, perform: Callable[[Claim], None], on_idle: Callable[[], None]
    ) -> None:
        self._perform = perform
        self._on_idle = on_idle
        self._claims: SimpleQueue[Claim | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._free = threads
        self._threads = [
            threading.Thread(target=self._run, name=f"perform-{number}", daemon=True)
            for number in range(1, threads + 1)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    @property
    def free(self) -> int:
        """How many more claims would be performed at once."""
        return self._free

    @property
    def busy(self) -> int:
        """How many claims are being performed or about to be."""
        return len(self._threads) - self._free

    def submit(self, claim: Claim) -> None:
        """Hand a claim to a free thread; the caller has looked at `free`."""
        with self._lock:
            self._free -= 1
        self._claims.put(claim)

    def stop(self) -> None:
        """Let each thread end once it is free. Nothing is waited for."""
        for _ in self._threads:
            self._claims.put(None)

    def _run(self) -> None:
        while (claim := self._claims.get()) is not None:
            try:
                self._perform(claim)
            except BaseException:
                # The performer makes an outcome of all that user code raises; this is a fault of our own.
                log.exception("Performing broke down", extra={"action": "perform", "task_id": claim.id})
            finally:
                with self._lock:
                    self._free += 1
                self._on_idle()
