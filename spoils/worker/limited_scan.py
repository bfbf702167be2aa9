"""When to look for tasks under limits, and at which keys."""

import math
from collections.abc import Iterable

from spoils.queue.claim_limited import LimitedClaims

MOST_KEYS = 1_000
"""Keys that are kept in mind; the heartbeats find the tasks of others."""
BUSY_SECONDS = 0.005
"""When to try again while another worker claims."""


class LimitedScan:
    """Not thread-safe. Times are monotonic seconds and come in as arguments."""

    def __init__(self) -> None:
        self._named: set[str] = set()
        self._later: dict[str, float] = {}
        self._reached = ""
        self.at = math.inf
        """When to look."""

    def look(self, now: float, key: str = "") -> None:
        """Something has changed, in `key` if it is named: a task came, or a place is free."""
        if key and len(self._named) < MOST_KEYS:
            self._named.add(key)
        self.at = min(self.at, now)

    def begin(self, now: float) -> tuple[list[str], str]:
        """The keys to look at, and the key behind which a sweep goes on."""
        self._named |= {key for key, moment in self._later.items() if moment <= now}
        return list(self._named), self._reached

    def learn(self, asked: Iterable[str], found: LimitedClaims, *, limit: int, now: float) -> None:
        """Take in what a claim of up to `limit` tasks found."""
        if found.busy:
            self.at = now + BUSY_SECONDS
            return
        self._reached = found.reached
        if len(found.claims) < limit:  # else the other keys were not looked at
            self._named.difference_update(asked)
        self._later = {key: moment for key, moment in self._later.items() if moment > now}
        if len(self._later) < MOST_KEYS:
            self._later |= {key: now + seconds for key, seconds in found.again_in.items()}
        # Of each key it took its share only.
        self.at = now if found.claims else min(self._later.values(), default=math.inf)
