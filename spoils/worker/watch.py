"""Telling a dead worker from a silent one. Pure: time comes in as an argument."""

from dataclasses import dataclass
from uuid import UUID

from spoils.queue.presence import Neighbour, Pulse

UNLOCKED_SECONDS = 3.0
SILENT_SECONDS = 30.0
LONGEST_LOOK_SECONDS = 2.0
"""The silence that one look proves at most. A stall of the database, or of this process, delays every heartbeat."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was seen of one neighbour: its last heartbeat, for how long that stands still, whether it was another."""

    beat: str
    moved: bool
    silent: float = 0.0

    def next(self, beat: str, passed: float) -> "_Sight":
        if beat != self.beat:
            return _Sight(beat, moved=True)
        return _Sight(beat, self.moved, self.silent + passed)


class Watch:
    """Remembers each neighbour's heartbeat, as seen on one unbroken session of the observer's with one server."""

    def __init__(self) -> None:
        self._server: str | None = None
        self._seen: dict[UUID, _Sight] = {}
        self._looked_at = 0.0

    def forget(self) -> None:
        """The observer's connection was lost. It does not count what it did not see as silence."""
        self._server = None

    def observe(self, pulse: Pulse, now: float) -> list[Neighbour]:
        """The neighbours that are dead as of `now` (monotonic seconds).

        A neighbour is dead once its heartbeat has stood still for 30 s. Where its lock is free, 3 s are enough, but
        only if this observer has seen it come or its heartbeat move: after a failover every lock is free, and a worker
        that has just connected cannot know which of the others are about to connect.
        """
        first_look = pulse.server != self._server
        before = {} if first_look else self._seen
        passed = min(now - self._looked_at, LONGEST_LOOK_SECONDS)
        self._server, self._looked_at = pulse.server, now
        self._seen = {
            one.id: known.next(one.beat, passed)
            if (known := before.get(one.id))
            else _Sight(one.beat, moved=not first_look)
            for one in pulse.neighbours
        }
        return [one for one in pulse.neighbours if _dead(one, self._seen[one.id])]


def _dead(neighbour: Neighbour, sight: _Sight) -> bool:
    if neighbour.holds_lock is False and sight.moved and sight.silent >= UNLOCKED_SECONDS:
        return True
    return sight.silent >= SILENT_SECONDS
