"""How the attempts of the last minutes ended and how long they took, from `spoils_minutes`."""

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, func, select

from spoils.models import Minute
from spoils.queue.minute_stats import percentile

_LATELY = (
    select(Minute.task_type, Minute.outcome, Minute.bucket, func.sum(Minute.count), func.sum(Minute.ran_ms))
    .where(Minute.minute >= func.now() - func.make_interval(0, 0, 0, 0, 0, bindparam("minutes")))
    .group_by(Minute.task_type, Minute.outcome, Minute.bucket)
)


@dataclass(slots=True)
class RecentStats:
    """Of one type: how many attempts ended with each outcome, and the run times of all that have one."""

    outcomes: Counter[str] = field(default_factory=Counter)
    ran_ms: int = 0
    buckets: Counter[int] = field(default_factory=Counter)

    @property
    def average_ms(self) -> float | None:
        """The mean run time; None where nothing ran."""
        return self.ran_ms / number if (number := self.buckets.total()) else None

    def percentile_ms(self, share: float) -> float | None:
        """The run time that `share` of the attempts did not pass."""
        return percentile(self.buckets, share, self.average_ms)


def recent_stats(connection: Connection, *, minutes: int) -> dict[str, RecentStats]:
    """The attempts that ended within the last `minutes`, by task type."""
    found: dict[str, RecentStats] = {}
    for task_type, outcome, bucket, count, ran_ms in connection.execute(_LATELY, {"minutes": minutes}):
        of_type = found.setdefault(task_type, RecentStats())
        of_type.outcomes[outcome] += int(count)
        of_type.buckets[bucket] += int(count)
        of_type.ran_ms += int(ran_ms)
    return found
