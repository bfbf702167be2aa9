"""How often one client may fail to log in."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class Limiter:
    """At most `failures` of one client within `seconds`; it remembers the last `clients` to fail.

    It is one process's own: with n web processes a client has up to n times as many tries.
    """

    def __init__(
        self,
        failures: int = 10,
        seconds: float = 300.0,
        clients: int = 1_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures, self._seconds, self._clients, self._clock = failures, seconds, clients, clock
        self._failed: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def blocked(self, client: str) -> bool:
        """Whether this client has failed too often of late."""
        with self._lock:
            return len(self._recent(client)) >= self._failures

    def failed(self, client: str) -> None:
        """Note that this client has just failed."""
        with self._lock:
            self._failed[client] = [*self._recent(client), self._clock()][-self._failures :]
            self._failed.move_to_end(client)
            while len(self._failed) > self._clients:
                self._failed.popitem(last=False)

    def _recent(self, client: str) -> list[float]:
        since = self._clock() - self._seconds
        return [moment for moment in self._failed.get(client, ()) if moment > since]
