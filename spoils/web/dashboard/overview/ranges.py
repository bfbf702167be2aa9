"""The time ranges of the charts, and their steps. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from spoils.web.dashboard.shared.chart import Mark


@dataclass(frozen=True, slots=True)
class Range:
    """A time range up to now: `steps` of `step` each, of which the last is not over, with a mark every `every`."""

    name: str
    words: str
    step: timedelta
    steps: int
    every: timedelta

    def since(self, now: datetime) -> datetime:
        """The start of the first step."""
        epoch = datetime(2000, 1, 1, tzinfo=UTC)
        running = epoch + (now - epoch) // self.step * self.step
        return running - self.step * (self.steps - 1)

    def moments(self, now: datetime) -> list[datetime]:
        """The start of each step."""
        since = self.since(now)
        return [since + self.step * at for at in range(self.steps)]

    def marks(self, now: datetime) -> tuple[Mark, ...]:
        """The marks of the axis, at round times."""
        since, whole = self.since(now), self.step * self.steps
        epoch = datetime(2000, 1, 1, tzinfo=UTC)
        moment = epoch + -((epoch - since) // self.every) * self.every
        found = []
        while moment < since + whole:
            text = f"{moment.day} {moment:%b}" if self.every >= timedelta(days=1) else f"{moment:%H:%M}"
            share = (moment - since) / whole * 100
            if 3 < share < 98:
                found.append(Mark(round(share, 2), text, moment.isoformat(timespec="seconds")))
            moment += self.every
        return tuple(found)

    def share(self, moment: datetime, now: datetime) -> float:
        """The place of a moment on the axis, in per cent."""
        return (moment - self.since(now)) / (self.step * self.steps) * 100


HOUR = Range("1h", "1 hour", timedelta(minutes=1), 60, timedelta(minutes=10))
RANGES = {
    "1h": HOUR,
    "24h": Range("24h", "24 hours", timedelta(minutes=15), 96, timedelta(hours=3)),
    "7d": Range("7d", "7 days", timedelta(hours=2), 84, timedelta(days=1)),
}
