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
    """What an observer saw of one neighbour on its present session."""

    beat: str
    alive: bool
    """Whether it was there on this server: it came, its heartbeat moved, or it held its lock."""
    silent: float = 0.0
    unlocked: float = 0.0
    """How much of the silence its lock has been free."""

    def next(self, neighbour: Neighbour, passed: float) -> "_Sight":
        if neighbour.beat != self.beat:
            return _Sight(neighbour.beat, alive=True)
        return _Sight(
            self.beat,
            alive=self.alive or neighbour.holds_lock is True,
            silent=self.silent + passed,
            unlocked=self.unlocked + passed if neighbour.holds_lock is False else 0.0,
        )

    @property
    def dead(self) -> bool:
        return self.silent >= SILENT_SECONDS or (self.alive and self.unlocked >= UNLOCKED_SECONDS)


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

        A neighbour is dead once its heartbeat has stood still for 30 s. Where its lock is free meanwhile, 3 s are
        enough, but only if this observer has seen it alive on this server: after a failover every lock is free, and a
        worker that has just connected cannot know which of the others are about to connect.
        """
        first_look = pulse.server != self._server
        before = {} if first_look else self._seen
        passed = min(now - self._looked_at, LONGEST_LOOK_SECONDS)
        self._server, self._looked_at = pulse.server, now
        self._seen = {
            one.id: known.next(one, passed)
            if (known := before.get(one.id))
            else _Sight(one.beat, alive=not first_look or one.holds_lock is True)
            for one in pulse.neighbours
        }
        return [one for one in pulse.neighbours if self._seen[one.id].dead]
