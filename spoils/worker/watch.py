"""Telling a dead worker from a silent one. Pure: time comes in as an argument."""

from uuid import UUID

from spoils.queue.presence import Neighbour, Pulse

UNLOCKED_SECONDS = 3.0
SILENT_SECONDS = 30.0
SETTLING_SECONDS = 10.0
"""After a start of the server, or an outage of the observer's own, others may have lost lock and beat as well;
for so long nobody is judged."""


class Watch:
    """Remembers since when each neighbour's beat stands still, on one unbroken session of the observer's own."""

    def __init__(self) -> None:
        self._seen: dict[UUID, tuple[str, float]] = {}
        self._cut_off = False
        self._settles_at = float("-inf")

    def forget(self) -> None:
        """The observer's own connection was gone: what it did not see, it does not count as silence."""
        self._seen.clear()
        self._cut_off = True

    def observe(self, pulse: Pulse, now: float) -> list[Neighbour]:
        """The neighbours that are dead as of `now` (monotonic seconds).

        Dead is whose beat has stood still for 3 s while its lock is free, or for 30 s.
        """
        if self._cut_off:
            self._cut_off = False
            self._settles_at = now + SETTLING_SECONDS
        if pulse.server_up_seconds < SETTLING_SECONDS or now < self._settles_at:
            self._seen.clear()
            return []
        seen = {
            one.id: known if (known := self._seen.get(one.id)) and known[0] == one.beat else (one.beat, now)
            for one in pulse.neighbours
        }
        self._seen = seen
        return [one for one in pulse.neighbours if _dead(one, silent=now - seen[one.id][1])]


def _dead(neighbour: Neighbour, *, silent: float) -> bool:
    if neighbour.holds_lock is False and silent >= UNLOCKED_SECONDS:
        return True
    return silent >= SILENT_SECONDS
