"""What is to be written of an attempt."""

from typing import NamedTuple

from spoils.job.outcome import Verdict

Token = tuple[str, int, str]
"""What distinguishes a claim from all others, of the same task and by the same worker too: id, attempts, claimed_at."""


class Settlement(NamedTuple):
    """The verdict on one claimed attempt."""

    key: str  # the task's id, as the claim had it
    attempts: int
    verdict: Verdict
    claimed_at: str  # likewise
    ran_ms: int

    @property
    def token(self) -> Token:
        """The claim that this settles."""
        return self.key, self.attempts, self.claimed_at
