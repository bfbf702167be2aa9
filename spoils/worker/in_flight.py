"""What this worker has claimed and not settled yet."""

import threading
from collections.abc import Iterable

from spoils.queue.claim import Claim

Token = tuple[str, int]


class InFlight:
    """The claims in this worker's hands, from the claim's answer to the settlement's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[Token, Claim] = {}
        self._suspects = 0

    def add(self, claims: list[Claim]) -> None:
        """Take them in hand, before anybody performs them."""
        with self._lock:
            self._claims.update((claim.token, claim) for claim in claims)
            self._suspects += sum(claim.suspect for claim in claims)

    def drop(self, tokens: Iterable[Token]) -> None:
        """Settled, given back, or lost."""
        with self._lock:
            for token in tokens:
                claim = self._claims.pop(token, None)
                if claim is not None and claim.suspect:
                    self._suspects -= 1

    @property
    def suspect(self) -> bool:
        """Whether a suspect is in hand."""
        return self._suspects > 0

    def claims(self) -> list[Claim]:
        """A copy of what is in hand."""
        with self._lock:
            return list(self._claims.values())

    def __len__(self) -> int:
        return len(self._claims)
