"""Decides which other workers are dead. Pure: time comes in as an argument."""

from dataclasses import dataclass
from uuid import UUID

from spoils.queue.worker_rows import HeartbeatResult, OtherWorker

UNLOCKED_SECONDS = 3.0
UNRESPONSIVE_SECONDS = 30.0
LONGEST_GAP_SECONDS = 2.0
"""The most that one observation adds: a stall of the database, or of this process, delays every heartbeat."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What this worker has seen of another one on its present session."""

    beat: str
    alive: bool
    """Whether it was seen alive on this server: it registered, its heartbeat moved, or it held its lock."""
    unresponsive: float = 0.0
    unlocked: float = 0.0
    """For how much of that time its lock has been free."""

    def next(self, other: OtherWorker, passed: float) -> "_Seen":
        if other.beat != self.beat:
            return _Seen(other.beat, alive=True)
        return _Seen(
            self.beat,
            alive=self.alive or other.holds_lock is True,
            unresponsive=self.unresponsive + passed,
            unlocked=self.unlocked + passed if other.holds_lock is False else 0.0,
        )

    @property
    def dead(self) -> bool:
        return self.unresponsive >= UNRESPONSIVE_SECONDS or (self.alive and self.unlocked >= UNLOCKED_SECONDS)


class Liveness:
    """Remembers the heartbeat of each other worker, as seen on one unbroken session with one server."""

    def __init__(self) -> None:
        self._server: str | None = None
        self._seen: dict[UUID, _Seen] = {}
        self._observed_at = 0.0

    def forget(self) -> None:
        """This worker's connection was lost: time that it did not observe must not count."""
        self._server = None

    def observe(self, result: HeartbeatResult, now: float) -> list[OtherWorker]:
        """The workers that are dead as of `now` (monotonic seconds).

        A worker is dead once its heartbeat has not moved for 30 s. If its lock is free, 3 s are enough, but only if
        this worker has seen it alive on this server: after a failover every lock is free until its owner reconnects.
        """
        first = result.server != self._server
        before = {} if first else self._seen
        passed = min(now - self._observed_at, LONGEST_GAP_SECONDS)
        self._server, self._observed_at = result.server, now
        self._seen = {
            one.id: known.next(one, passed)
            if (known := before.get(one.id))
            else _Seen(one.beat, alive=not first or one.holds_lock is True)
            for one in result.others
        }
        return [one for one in result.others if self._seen[one.id].dead]
