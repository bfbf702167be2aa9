"""Rate limits by client address, counted in this process."""

import math
import time

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter


class RateLimit:
    """At most `amount` hits of one client in any `seconds`. With n web processes a client has up to n times as many.

    Memory is bounded: past `clients` addresses the counts start again.
    """

    def __init__(self, amount: int, seconds: int, clients: int = 10_000) -> None:
        self._limit = RateLimitItemPerSecond(amount, seconds)
        self._clients = clients
        self._storage = MemoryStorage()
        self._counter = SlidingWindowCounterRateLimiter(self._storage)

    def hit(self, client: str) -> bool:
        """Count a hit of this client. False, and not counted, where it has none left."""
        if len(self._storage.storage) >= self._clients:
            self._storage.reset()
        return self._counter.hit(self._limit, client)

    def exceeded(self, client: str) -> bool:
        """Whether this client has no hit left."""
        return not self._counter.test(self._limit, client)

    def retry_after(self, client: str) -> int:
        """In how many seconds this client has a hit again."""
        reset_time = self._counter.get_window_stats(self._limit, client).reset_time
        return max(1, math.ceil(reset_time - time.time()))
