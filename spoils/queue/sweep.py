"""Looking back over what claims have passed: in one look where that is quick, else slice by slice.

While somebody holds a snapshot open, nothing of what was claimed leaves the claim index: after half an hour under load
a look from its head walks over millions of dead entries, for seconds in which nothing else is claimed. Then each look
goes over one slice of time only, from now backwards, and the next one over the slice before.
"""

from datetime import datetime, timedelta

SLOW_SECONDS = 0.25
"""A look from the head that takes longer is cut into slices from then on."""
SLICE_SECONDS = 0.025
"""So long a look at one slice should take: what is due meanwhile waits for it."""
FIRST_SLICE = timedelta(seconds=16)
LEAST_SLICE = timedelta(seconds=0.25)
LONGEST_SLICE = timedelta(days=1)
"""Where slices have grown to this, the last one takes all that is older."""


class Sweep:
    """Where the next look back goes. Not for several threads at once, `restart` aside."""

    def __init__(self) -> None:
        self._slice: timedelta | None = None
        self._high: datetime | None = None  # None: whatever is due
        self._low: datetime | None = None  # None: from the head
        self._seconds = 0.0

    @property
    def whole(self) -> bool:
        """Whether one look goes over all."""
        return self._slice is None

    def window(self, now: datetime) -> tuple[str, str]:
        """From which moment to which the next look goes, as PostgreSQL reads them; `now` by its clock."""
        high = self._high
        if self._slice is None or self._slice > LONGEST_SLICE:
            self._low = None
        else:
            self._low = (high or now) - self._slice
        return (
            "-infinity" if self._low is None else self._low.isoformat(),
            "infinity" if high is None else high.isoformat(),
        )

    def learn(self, seconds: float, *, filled: bool) -> None:
        """That look took so long; `filled` where it found as much as it might, so that more may be there."""
        if self._slice is None:
            if seconds > SLOW_SECONDS:
                self._begin(FIRST_SLICE)
            return
        self._seconds += seconds
        if filled:
            return
        if self._low is None:
            self._begin(None if self._seconds < SLOW_SECONDS else FIRST_SLICE)
            return
        self._high = self._low
        if seconds > SLICE_SECONDS * 2:
            self._slice = max(self._slice / 2, LEAST_SLICE)
        elif seconds < SLICE_SECONDS / 2:
            self._slice *= 2

    def restart(self) -> None:
        """Something was put in that was due before: the newest slice comes next. Any thread may call it."""
        self._high = None

    def _begin(self, first: timedelta | None) -> None:
        self._slice, self._high, self._seconds = first, None, 0.0
