"""How attempts ended and how long they took, by task type: those of the last minutes, and those of all time."""

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import BigInteger, Connection, bindparam, func, select, union_all

from spoils.job.outcome import Ending
from spoils.models import Minute, Total
from spoils.queue.minute_stats import percentile
from spoils.queue.total_rollups import totalled_until

_LATELY = (
    select(Minute.task_type, Minute.outcome, Minute.bucket, func.sum(Minute.count), func.sum(Minute.ran_ms))
    .where(Minute.minute >= func.now() - func.make_interval(0, 0, 0, 0, 0, bindparam("minutes")))
    .group_by(Minute.task_type, Minute.outcome, Minute.bucket)
)
_rows = union_all(
    select(Total.task_type, Total.outcome, Total.bucket, Total.count.label("count"), Total.ran_ms),
    select(Minute.task_type, Minute.outcome, Minute.bucket, Minute.count, Minute.ran_ms).where(
        Minute.minute >= totalled_until()
    ),
).subquery("rows")
_sums = (
    select(
        _rows.c.task_type,
        _rows.c.outcome,
        _rows.c.bucket,
        func.sum(_rows.c.count).cast(BigInteger).label("count"),
        func.sum(_rows.c.ran_ms).label("ran_ms"),
    )
    .group_by(_rows.c.task_type, _rows.c.outcome, _rows.c.bucket)
    .subquery("sums")
).c
# The buckets in arrays: with a hundred types a row for each would be thousands.
_EVER = select(
    _sums.task_type,
    _sums.outcome,
    func.sum(_sums.ran_ms),
    func.array_agg(_sums.bucket),
    func.array_agg(_sums.count),
).group_by(_sums.task_type, _sums.outcome)


@dataclass(slots=True)
class AttemptStats:
    """How many attempts ended with each outcome, and the run times of all that have one."""

    outcomes: Counter[str] = field(default_factory=Counter)
    ran_ms: int = 0
    buckets: Counter[int] = field(default_factory=Counter)

    @property
    def ended(self) -> int:
        """How many attempts ended, however they did."""
        return self.outcomes.total()

    @property
    def finished(self) -> int:
        """How many of them finished their job."""
        return self.outcomes[Ending.FINISHED.value]

    @property
    def failed(self) -> int:
        """How many failed; one that was cancelled did not."""
        return self.ended - self.finished - self.outcomes[Ending.CANCELLED.value]

    @property
    def average_ms(self) -> float | None:
        """The mean run time; None where nothing ran."""
        return self.ran_ms / number if (number := self.buckets.total()) else None

    def percentile_ms(self, share: float) -> float | None:
        """The run time that `share` of the attempts did not pass."""
        return percentile(self.buckets, share, self.average_ms)

    def add(self, other: "AttemptStats") -> None:
        """Add other attempts."""
        # Not by `update`, which takes twice as long: a chart adds thousands.
        for outcome, number in other.outcomes.items():
            self.outcomes[outcome] += number
        for bucket, number in other.buckets.items():
            self.buckets[bucket] += number
        self.ran_ms += other.ran_ms


NOTHING = AttemptStats()
"""No attempts: for look-ups, not to be added to."""


def recent_stats(connection: Connection, *, minutes: int) -> dict[str, AttemptStats]:
    """The attempts that ended within the last `minutes`, by task type."""
    found: dict[str, AttemptStats] = {}
    for task_type, outcome, bucket, count, ran_ms in connection.execute(_LATELY, {"minutes": minutes}):
        of_type = found.setdefault(task_type, AttemptStats())
        of_type.outcomes[outcome] += int(count)
        of_type.buckets[bucket] += int(count)
        of_type.ran_ms += int(ran_ms)
    return found


def total_stats(connection: Connection) -> dict[str, AttemptStats]:
    """The attempts of all time, by task type: no figure decreases, whatever is pruned."""
    found: dict[str, AttemptStats] = {}
    for task_type, outcome, ran_ms, buckets, counts in connection.execute(_EVER):
        of_type = found.setdefault(task_type, AttemptStats())
        of_type.outcomes[outcome] += sum(counts)
        of_type.buckets.update(dict(zip(buckets, counts, strict=True)))
        of_type.ran_ms += int(ran_ms)
    return found
