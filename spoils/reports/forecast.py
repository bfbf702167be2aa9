"""Whether a backlog grows, and when it will be empty."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on

from spoils.models import BacklogSample, DbSession

LEAST_SECONDS, MOST_SECONDS = 60.0, 180.0
"""The age of the count that the present one is compared with."""
SETTLED_SECONDS = 120.0
"""A backlog whose oldest job has been due for less is not judged: it may be one burst."""

_BEFORE = (
    select(
        BacklogSample.task_type,
        BacklogSample.waiting,
        func.extract("epoch", func.now() - BacklogSample.counted_at),
    )
    .ext(distinct_on(BacklogSample.task_type))
    .where(
        BacklogSample.counted_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, MOST_SECONDS),
        BacklogSample.counted_at <= func.now() - func.make_interval(0, 0, 0, 0, 0, 0, LEAST_SECONDS),
    )
    .order_by(BacklogSample.task_type, BacklogSample.counted_at.desc())
)


@dataclass(frozen=True, slots=True)
class Before:
    """How many jobs waited, and how many seconds ago."""

    waiting: int
    seconds_ago: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a backlog will do: it grows by this many jobs a second (less than none where it shrinks), and is empty after
    this many seconds, or never (None).
    """

    growth_per_second: float
    clears_in_seconds: float | None

    @property
    def sentence(self) -> str:
        """As a part of a sentence: `clears in about 35 min`, or `growing 12/s, will not drain`."""
        if self.clears_in_seconds is not None:
            return f"clears in about {_about(self.clears_in_seconds)}"
        return (
            f"growing {_rate(self.growth_per_second)}, will not drain"
            if self.growth_per_second
            else "not shrinking"
        )


def waiting_before(session: DbSession) -> dict[str, Before]:
    """By task type: how many waited one to three minutes ago. A type of which that is not known is left out."""
    rows = session.execute(_BEFORE)
    return {task_type: Before(int(waiting), float(seconds)) for task_type, waiting, seconds in rows}


def forecast(waiting: int, before: Before) -> Forecast:
    """What a backlog of `waiting` jobs does, if it goes on as since then. Jobs that are not due yet count too."""
    growth = (waiting - before.waiting) / before.seconds_ago
    return Forecast(growth, waiting / -growth if growth < 0 else None)


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h" if seconds < 129_600 else f"{seconds / 86_400:.0f} days"


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}/s" if per_second >= 1 else f"{per_second * 60:,.0f}/min"
