"""What this worker has claimed and not settled yet."""

import threading
from collections.abc import Iterable
from operator import itemgetter

from spoils.queue.claim import Claim
from spoils.queue.reach import SUSPECT_CRASHES

Token = tuple[str, int]

# Without a call of Python's for each of hundreds; the first is `Claim.token`.
_TOKEN = itemgetter(Claim._fields.index("key"), Claim._fields.index("attempts"))
_CRASHES = itemgetter(Claim._fields.index("crashes"))


class InFlight:
    """The claims in this worker's hands, from the claim's answer to the settlement's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[Token, Claim] = {}
        self._suspects = 0

    def add(self, claims: list[Claim]) -> None:
        """Take them in hand, before anybody performs them."""
        with self._lock:
            if len(claims) == 1:  # somebody may wait for it: with fewer calls
                self._claims[_TOKEN(claims[0])] = claims[0]
                self._suspects += _CRASHES(claims[0]) >= SUSPECT_CRASHES
                return
            self._claims.update(zip(map(_TOKEN, claims), claims, strict=True))
            if max(map(_CRASHES, claims), default=0) >= SUSPECT_CRASHES:
                self._suspects += sum(claim.suspect for claim in claims)

    def drop(self, tokens: Iterable[Token]) -> None:
        """Settled, given back, or lost."""
        with self._lock:
            for token in tokens:
                claim = self._claims.pop(token, None)
                if self._suspects and claim is not None and claim.suspect:
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
