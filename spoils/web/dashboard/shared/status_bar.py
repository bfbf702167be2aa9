"""The status bar at the top of every page: counts by state, oldest due job, rate, workers, and health."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from spoils.job.registry import registry
from spoils.models import WAITING, Pause, PauseKind, TaskState
from spoils.queue import counts, pauses, tasks
from spoils.reports.backlog import oldest_waiting
from spoils.reports.charts import Recent, ended_recently
from spoils.reports.forecast import SETTLED_SECONDS, Forecast, forecast, waiting_before
from spoils.reports.schedule_incidents import missed_last
from spoils.reports.workers import live_workers, takers_of, unknown_to
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.health import INCOMPLETE, Health, Observed, judge
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.states import ORDER, VIEWS, StateView

RATE_MINUTES = 5
COUNTS, OLDEST, RATE = "the counts by state", "the oldest waiting", "the jobs per minute"
MISSED = "the missed ticks"


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many jobs are in a state."""

    state: StateView
    count: int
    text: str


@dataclass(frozen=True, slots=True)
class StatusBar:
    """What the bar shows, and the figures by type that pages build on."""

    states: tuple[StateCount, ...]
    oldest: str
    """The age of the oldest due job; empty if none is due."""
    oldest_since: formats.Moment | None
    workers: int
    capacity: str
    health: Health
    seen_at: formats.Moment
    now: datetime
    counts: Mapping[str, Mapping[TaskState, int]]
    taken: frozenset[str]
    """Job types that a running worker performs."""
    due_for: Mapping[str, float]
    """For each type with a due job: for how many seconds the oldest has been due."""
    forecasts: Mapping[str, Forecast]
    """For each type with a due job, if it is known how many waited some minutes ago."""
    recent: Mapping[str, Recent]
    """The attempts of the last minutes."""
    paused: Mapping[str, Pause]
    missing: tuple[str, ...]
    """The parts that took the database too long."""

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return sum(each.count for each in self.states)

    @property
    def uncounted(self) -> bool:
        """Whether the counts timed out: then `counts` and `total` say nothing."""
        return COUNTS in self.missing

    @property
    def listed(self) -> list[str]:
        """The types that lists show unless a type is chosen: the queue's own jobs are left out."""
        own = registry.own_types()
        return [name for name in self.counts if name not in own]

    def count(self, names: Iterable[str], *states: TaskState) -> int:
        """How many jobs of these types are in one of these states."""
        return sum(self.counts[name][state] for name in names if name in self.counts for state in states)

    def waiting(self, *names: str) -> int:
        """How many jobs of these types wait."""
        return self.count(names, *WAITING)

    def outlook(self, name: str) -> Forecast | None:
        """What the backlog of a type will do; None while its oldest job has not been due for long."""
        return self.forecasts.get(name) if self.due_for.get(name, 0) > SETTLED_SECONDS else None

    @property
    def recent_minutes(self) -> float:
        """How many minutes `recent` covers: `RATE_MINUTES`, and the part of this minute that has passed."""
        return RATE_MINUTES + (self.now.second + self.now.microsecond / 1e6) / 60

    def ended_recently(self, name: str) -> int:
        """How many attempts of a type ended in the last minutes."""
        return self.recent[name].ended if name in self.recent else 0

    @property
    def per_minute(self) -> str:
        """How many attempts end in a minute."""
        ended = sum(of.ended for of in self.recent.values())
        return "–" if RATE in self.missing else formats.per_minute(ended, self.recent_minutes)

    def oldest_of(self, *names: str) -> str:
        """For how long the oldest job of these types has been due; a dash if none is."""
        ages = [self.due_for[name] for name in names if name in self.due_for]
        return formats.coarse(max(ages)) if ages else "–"


def read_status_bar(session: Session) -> StatusBar:
    """Read the bar: a few queries whose cost does not grow with the table."""
    now = tasks.server_now(session.connection())
    budget = QueryBudget(session)
    by_type = budget.read(COUNTS, lambda: counts.count_tasks(session.connection())) or {}
    own = registry.own_types()
    listed = {name: of for name, of in by_type.items() if name not in own}
    waiting = {name: sum(of[state] for state in WAITING) for name, of in by_type.items()}
    oldest = budget.read(
        OLDEST, lambda: oldest_waiting(session, [name for name in waiting if waiting[name] > 0])
    )
    recent = budget.read(RATE, lambda: ended_recently(session, minutes=RATE_MINUTES))
    missed = budget.read(MISSED, lambda: missed_last(session))
    before = waiting_before(session)
    workers = live_workers(session)
    paused = pauses.paused(session.connection(), PauseKind.TASK_TYPE)
    due_for = {each.task_type: (now - each.oldest_due_at).total_seconds() for each in oldest or ()}
    taken = frozenset(name for worker in workers if not worker.draining for name in worker.task_types)
    unknown = {
        each.task_type: each.job
        for each in oldest or ()
        if each.job is not None and unknown_to(takers_of(workers, each.task_type), each.job)
    }
    forecasts = {name: forecast(waiting[name], before[name]) for name in due_for if name in before}
    limited = frozenset(each.task_type for each in oldest or () if each.limited)
    observed = Observed(
        waiting,
        due_for,
        len(workers),
        taken,
        frozenset(paused),
        unknown,
        recent or {},
        forecasts,
        RATE_MINUTES,
        limited,
        tuple(missed or ()),
        own,
        running=sum(of[TaskState.IN_PROGRESS] for of in by_type.values()),
        capacity=sum(worker.threads for worker in workers if not worker.draining),
    )
    return StatusBar(
        states=tuple(_state_count(listed, state, uncounted=COUNTS in budget.missing) for state in ORDER),
        oldest=formats.coarse(max(due_for.values())) if due_for else "",
        oldest_since=formats.moment(min(each.oldest_due_at for each in oldest), now) if oldest else None,
        workers=len(workers),
        capacity=f"capacity {formats.number(sum(worker.threads for worker in workers))}",
        health=INCOMPLETE if budget.missing else judge(observed),
        seen_at=formats.moment(now, now),
        now=now,
        counts=by_type,
        taken=taken,
        due_for=due_for,
        forecasts=forecasts,
        recent=recent or {},
        paused=paused,
        missing=tuple(budget.missing),
    )


def _state_count(
    by_type: Mapping[str, Mapping[TaskState, int]], state: TaskState, *, uncounted: bool
) -> StateCount:
    count = sum(of[state] for of in by_type.values())
    return StateCount(VIEWS[state], count, "–" if uncounted else formats.number(count))
