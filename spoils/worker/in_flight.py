"""What this worker has claimed and not settled yet."""

import threading
from collections.abc import Iterable
from uuid import UUID

from spoils.queue.claim import Claim

Token = tuple[UUID, int]


class InFlight:
    """The claims in this worker's hands, from the claim's answer to the settlement's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[Token, Claim] = {}

    def add(self, claims: list[Claim]) -> None:
        """Take them in hand, before anybody performs them."""
        with self._lock:
            self._claims.update((claim.token, claim) for claim in claims)

    def drop(self, tokens: Iterable[Token]) -> None:
        """Settled, given back, or lost."""
        with self._lock:
            for token in tokens:
                self._claims.pop(token, None)

    def claims(self) -> list[Claim]:
        """A copy of what is in hand."""
        with self._lock:
            return list(self._claims.values())

    def __len__(self) -> int:
        return len(self._claims)
