"""Looking back over what claims have passed: in one look where that is quick, else slice by slice.

While somebody holds a snapshot open, nothing of what was claimed leaves the claim index: after half an hour under load
a look from its head walks over millions of dead entries, for seconds in which nothing else is claimed. Then each look
goes over one slice of time only, from now backwards. The slices grow with their age, so that there are some 140 to the
head where little lies in them; where one takes long, the next ones are thinner.
"""

import threading
from datetime import datetime, timedelta

SLOW_SECONDS = 0.25
"""A look from the head that takes longer is cut into slices from then on. Where all slices together take no longer
than that beyond what each takes at least, one look goes over all again."""
NOISE_SECONDS = 0.005
"""So much longer a slice may take for any reason."""
LEAST_SLICE = timedelta(seconds=4)
PARTS = 16
"""A slice is a sixteenth of its age, or half of that, a quarter and so on."""
LEAST_SHARE = 1 / 64
OLDEST = timedelta(days=1)
"""All that is older is one slice."""
FARTHEST_SECONDS = 30 * 365 * 24 * 3600.0
"""No detour begins further back; a backlog that was given back may be older than a day."""
MARGIN = timedelta(seconds=5)
"""How far before its place a detour begins: a notification has the moment of an insert, and comes at its commit."""


class Sweep:
    """Where the next look back goes. Not for several threads at once, `detour` aside."""

    def __init__(self) -> None:
        self._sliced = False
        self._begun: datetime | None = None
        self._age = timedelta(0)
        self._slice: timedelta | None = LEAST_SLICE  # None: all that is older
        self._share = 1.0
        self._took: list[float] = []
        self._least_seconds = float("inf")
        self._lock = threading.Lock()
        self._named: datetime | None = None
        self._place: datetime | None = None  # where a detour goes on; None where there is none
        self._place_after: datetime | None = None  # likewise, once this look was made
        self._on_detour = False

    @property
    def whole(self) -> bool:
        """Whether one look goes over all."""
        return not self._sliced

    @property
    def asked(self) -> bool:
        """Whether a detour is due, or not at its end."""
        return self._named is not None or self._place is not None

    def detour(self, place: datetime) -> None:
        """Something was put in that was due at that moment: look from there on soon. Any thread may call it."""
        with self._lock:
            self._named = _earlier(self._named, place)

    def window(self, now: datetime) -> tuple[str, str]:
        """From which moment to which the next look goes, as PostgreSQL prints them; `now` by its clock.

        A detour goes in slices too, and takes every other look, so that the sweep goes on however many places are
        named. Its place is kept until `learn`: the claim may fail.
        """
        with self._lock:
            self._place, self._named = _earlier(self._place, self._named), None
        self._place_after = None
        if not self._sliced:
            return "-infinity", "infinity"
        self._on_detour = self._place is not None and not self._on_detour
        if self._place is not None and self._on_detour:
            end = self._place + max((now - self._place) / PARTS * self._share, LEAST_SLICE)
            self._place_after = end if end < now else None
            return _printed(self._place - MARGIN), _printed(end) if self._place_after else "infinity"
        self._begun = self._begun or now
        high = self._begun - self._age
        self._slice = max(self._age / PARTS * self._share, LEAST_SLICE) if self._age < OLDEST else None
        low = "-infinity" if self._slice is None else _printed(high - self._slice)
        return low, _printed(high) if self._age else "infinity"

    def learn(self, seconds: float, *, filled: bool) -> None:
        """That look took so long; `filled` where it found as much as it might, so that more may be there."""
        if not self._sliced:
            self._sliced = seconds > SLOW_SECONDS
            if not filled:
                self._place = None
            return
        if filled:
            return
        self._least_seconds = least = min(self._least_seconds, seconds)
        longer = seconds - least
        if longer > SLOW_SECONDS:
            self._share = max(self._share / 2, LEAST_SHARE)
        elif longer < SLOW_SECONDS / 4:
            self._share = min(self._share * 2, 1.0)
        if self._on_detour:
            self._place = self._place_after
            return
        self._took.append(seconds)
        if self._slice is not None:
            self._age += self._slice
            return
        extra = sum(one - least for one in self._took if one - least > NOISE_SECONDS)
        self._sliced = extra > SLOW_SECONDS
        self._begun, self._age, self._took = None, timedelta(0), []


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(filter(None, (one, other)), default=None)


def _printed(moment: datetime) -> str:
    return moment.isoformat(sep=" ")
