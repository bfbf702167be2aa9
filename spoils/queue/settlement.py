"""What is to be written of an attempt."""

from typing import NamedTuple

from spoils.outcome import Verdict


class Settlement(NamedTuple):
    """The verdict on one claimed attempt; `attempts` is the fence together with the worker's id."""

    key: str  # the task's id, as the claim had it
    attempts: int
    verdict: Verdict
    claimed_at: str  # likewise
    ran_ms: int

    @property
    def token(self) -> tuple[str, int]:
        """The claim that this settles."""
        return self[:2]
