"""What this worker has claimed and not settled yet."""

import threading
from collections.abc import Iterable
from operator import attrgetter

from spoils.queue.claim import Claim
from spoils.queue.settlement import Token

_KEY = attrgetter("key")  # without a call of Python's for each of hundreds


class InFlight:
    """The claims of this worker, from the claim's answer to the settlement's; of each task one is performed.

    A crash of the server can undo a claim, since claims commit asynchronously. When this worker claims the task again
    while it still performs the first claim, the second one waits until the first is dropped.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[str, Claim] = {}
        self._again: dict[str, Claim] = {}

    def add(self, claims: list[Claim]) -> list[Claim]:
        """Take them in hand; those that may be performed now."""
        with self._lock:
            if not self._claims.keys().isdisjoint(map(_KEY, claims)):
                self._again |= {one.key: one for one in claims if one.key in self._claims}
                claims = [one for one in claims if one.key not in self._claims]
            self._add(claims)
        return claims

    def drop(self, tokens: Iterable[Token]) -> None:
        """Settled, released, or lost."""
        with self._lock:
            for token in tokens:
                claim = self._claims.get(token[0])
                if claim is None or claim.claimed_at != token[2]:
                    again = self._again.get(token[0])
                    if again is not None and again.claimed_at == token[2]:
                        del self._again[token[0]]
                    continue  # another claim of the same task
                del self._claims[token[0]]

    def come_free(self) -> list[Claim]:
        """The claims that waited for an earlier one of the same task, and may be performed now."""
        if not self._again:
            return []
        with self._lock:
            free = [one for one in self._again.values() if one.key not in self._claims]
            for one in free:
                del self._again[one.key]
            self._add(free)
        return free

    def again(self) -> list[Claim]:
        """The claims that wait for an earlier one of the same task."""
        return list(self._again.values())

    @property
    def suspect(self) -> bool:
        """Whether a suspect is in hand; there is nothing beside one."""
        return len(self._claims) == 1 and any(claim.suspect for claim in self.claims())

    def claims(self) -> list[Claim]:
        """A copy of what is in hand."""
        with self._lock:
            return [*self._claims.values(), *self._again.values()]

    def __len__(self) -> int:
        return len(self._claims) + len(self._again)

    def _add(self, claims: list[Claim]) -> None:
        self._claims.update(zip(map(_KEY, claims), claims, strict=True))
