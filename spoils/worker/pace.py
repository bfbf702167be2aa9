"""How many tasks a claim may take, by what the last ones took."""

CLAIM_SECONDS = 0.01
"""No claim takes more tasks than in about this time: what is put in meanwhile waits for it, and for its own."""
LEAST_CLAIM = 250
"""But for this many, which a claim may always take: with smaller claims two workers at one table drained less."""


class Pace:
    """Learns what one more task adds to a claim: the way to a far server would else look like its tasks.

    Quick to believe that a task is cheap, slow to believe that it is dear: one claim may have waited for others, or
    have asked for a thousand pairs of type and priority.
    """

    def __init__(self) -> None:
        self._round_trip = 0.0
        self._seconds_a_task = 0.0

    def most(self, room: int) -> int:
        """How many of `room` the next claim may take."""
        if not self._seconds_a_task:
            return room
        return min(room, max(LEAST_CLAIM, int(CLAIM_SECONDS / self._seconds_a_task)))

    def learn(self, seconds: float, number: int) -> None:
        """A claim of so many took so long."""
        if number < LEAST_CLAIM:
            self._round_trip = min(self._round_trip or seconds, seconds)
            return
        each = max(seconds - self._round_trip, 0.0) / number
        change = each - self._seconds_a_task
        self._seconds_a_task += change / (16 if change > 0 else 4) if self._seconds_a_task else each
