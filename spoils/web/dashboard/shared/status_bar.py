"""The strip: what exists, how old the oldest waiting job is, who works, and one sentence on all of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spoils.models import WAITING, Minute, Pause, PauseKind, TaskState
from spoils.queue import counts, pauses, tasks
from spoils.reports.backlog import oldest_waiting
from spoils.reports.workers import live_workers
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.health import LEFT_OUT, Health, Seen, judge
from spoils.web.dashboard.shared.query_budget import Patience
from spoils.web.dashboard.shared.states import ORDER, VIEWS, StateView

RATE_MINUTES = 5
COUNTS, OLDEST, RATE = "the counts by state", "the oldest waiting", "the jobs per minute"

Counts = Mapping[str, Mapping[TaskState, int]]


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many tasks stand in a state."""

    state: StateView
    count: int
    text: str


@dataclass(frozen=True, slots=True)
class Strip:
    """What the head of every page shows, and what pages need of it."""

    states: tuple[StateCount, ...]
    oldest: formats.Figure | None
    oldest_since: formats.Moment | None
    per_minute: str
    workers: int
    threads: str
    health: Health
    seen_at: formats.Moment | None
    now: datetime
    counts: Counts
    taken: frozenset[str]
    """Task types that a live worker takes."""
    due_for: Mapping[str, float]
    """For each type with a due task: the seconds that the oldest has been due."""
    paused: Mapping[str, Pause]
    """Task types of which nothing is claimed."""
    missing: tuple[str, ...] = ()
    """What took the database too long."""

    @property
    def total(self) -> int:
        """How many tasks there are."""
        return sum(each.count for each in self.states)

    @property
    def uncounted(self) -> bool:
        """Whether the counts took too long, so that `counts` and `total` say nothing."""
        return COUNTS in self.missing


def look(session: Session) -> Strip:
    """Look at the queue as it is now: a few statements, each of which costs the same at any size of the table."""
    connection = session.connection()
    now = tasks.server_now(connection)
    patience = Patience(session)
    by_type = patience.read(COUNTS, lambda: counts.count_tasks(session.connection())) or {}
    waiting = {name: sum(of[state] for state in WAITING) for name, of in by_type.items()}
    waits = [name for name, number in waiting.items() if number > 0]
    oldest = patience.read(OLDEST, lambda: oldest_waiting(session, waits)) or []
    ended = patience.read(RATE, lambda: _ended_lately(session))
    workers = live_workers(session)
    paused = pauses.paused(session.connection(), PauseKind.TASK_TYPE)
    ages = {each.task_type: (now - each.oldest_due_at).total_seconds() for each in oldest}
    taken = frozenset(name for worker in workers if not worker.draining for name in worker.task_types)
    seen = Seen(
        waiting=waiting, due_for=ages, live_workers=len(workers), taken=taken, paused=frozenset(paused)
    )
    health = LEFT_OUT if patience.missing else judge(seen)
    uncounted = COUNTS in patience.missing
    return Strip(
        states=tuple(_state_count(by_type, state, uncounted=uncounted) for state in ORDER),
        oldest=formats.coarse(max(ages.values())) if ages else None,
        oldest_since=formats.moment(min(each.oldest_due_at for each in oldest), now) if oldest else None,
        per_minute="–" if ended is None else formats.per_minute(ended, RATE_MINUTES),
        workers=len(workers),
        threads=formats.plural(sum(worker.threads for worker in workers), "thread"),
        health=health,
        seen_at=formats.moment(now, now),
        now=now,
        counts=by_type,
        taken=taken,
        due_for=ages,
        paused=paused,
        missing=tuple(patience.missing),
    )


def _state_count(by_type: Counts, state: TaskState, *, uncounted: bool) -> StateCount:
    count = sum(of[state] for of in by_type.values())
    return StateCount(VIEWS[state], count, "–" if uncounted else formats.number(count))


def _ended_lately(session: Session) -> int:
    this_minute = func.date_trunc("minute", func.now())
    statement = select(func.coalesce(func.sum(Minute.count), 0)).where(
        # Whole minutes only: the one that runs would make every rate look too low.
        Minute.minute >= this_minute - func.make_interval(0, 0, 0, 0, 0, RATE_MINUTES),
        Minute.minute < this_minute,
    )
    return int(session.scalar(statement) or 0)
