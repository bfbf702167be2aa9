"""Why a task does not run: what holds it, and what was checked and does not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select, tuple_, union_all
from sqlalchemy.orm import aliased

from spoils.job.registry import registry
from spoils.masking import masked_text
from spoils.models import WAITING, DbSession, HoldKind, Parked, PauseKind, Task, TaskState, Worker
from spoils.queue import tasks
from spoils.queue.claim_scope import SUSPECT_CRASHES
from spoils.queue.enqueue import PRIORITIES
from spoils.queue.holds import held_until
from spoils.queue.pauses import paused
from spoils.reports.limit_state import limit_of
from spoils.reports.schedules import tick_of
from spoils.reports.workers import live_workers, takers_of, unknown_to

COUNTED_AHEAD = 1_000


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding: whether it holds the task, its kind, and what is known of it (only JSON's values, ids, moments)."""

    kind: str
    holds: bool
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sight:
    """What every finder sees."""

    session: DbSession
    task: Task
    now: datetime
    workers: Sequence[Worker]

    @property
    def takers(self) -> list[Worker]:
        """The running workers that perform the task's type."""
        return takers_of(self.workers, self.task.task_type)


def find(session: DbSession, task: Task) -> tuple[Reason, ...]:
    """The reasons, those that hold first. One that has ended has only its state for a reason; a running one none."""
    if task.state is TaskState.IN_PROGRESS:
        return ()
    if task.state not in WAITING:
        return (Reason("ended", True, {"state": task.state.value, "at": task.updated_at}),)
    now = tasks.server_now(session.connection())
    sight = Sight(session, task, now, live_workers(session))
    found = [reason for finder in FINDERS if (reason := finder(sight))]
    if not any(reason.holds for reason in found):
        found.append(_turn(sight))
    return tuple(sorted(found, key=lambda reason: not reason.holds))


def _due(sight: Sight) -> Reason:
    holds = sight.task.scheduled_at > sight.now
    facts: dict[str, Any] = {"due_at": sight.task.scheduled_at}
    last = next(iter(tasks.attempts_of(sight.session, sight.task.id, 1)), None)
    if holds and sight.task.state is TaskState.RETRIED and last is not None and last.delay_ms is not None:
        facts |= {"attempt": last.attempt, "outcome": last.outcome, "delay_ms": last.delay_ms}
    return Reason("not_due" if holds else "due", holds, facts)


def _expiry(sight: Sight) -> Reason | None:
    """Only what has not been started expires."""
    payload = sight.task.payload
    job = payload.get("type") if isinstance(payload, dict) else None
    job_class = registry.get(job) if isinstance(job, str) else None
    if job_class is None or job_class.expires is None or sight.task.state is not TaskState.NEW:
        return None
    if tasks.has_started(sight.session.connection(), sight.task.id):
        return None
    try:
        at = sight.task.scheduled_at + job_class.expires
    except OverflowError:
        return None
    return Reason("expires", False, {"at": at})


def _pause(sight: Sight) -> Reason | None:
    pause = paused(sight.session.connection(), PauseKind.TASK_TYPE).get(sight.task.task_type)
    if pause is None:
        return None
    facts = {"task_type": pause.name, "paused_by": pause.paused_by, "paused_at": pause.paused_at}
    return Reason("paused", True, facts)


def _worker(sight: Sight) -> Reason:
    task_type = sight.task.task_type
    if not sight.workers:
        return Reason("no_worker", True, {})
    if not sight.takers:
        return Reason("no_taker", True, {"task_type": task_type})
    return Reason("taken", False, {"task_type": task_type, "workers": len(sight.takers)})


def _unknown_class(sight: Sight) -> Reason | None:
    payload = sight.task.payload
    job = payload.get("type") if isinstance(payload, dict) else None
    if not isinstance(job, str) or not unknown_to(sight.takers, job):
        return None
    return Reason("unknown_class", True, {"job": job})


def _duplicate(sight: Sight) -> Reason | None:
    """Only beside Rust workers may an equal unique task come to wait while one runs."""
    duplicate = tasks.active_duplicate(sight.session, sight.task)
    if duplicate is None or duplicate.state is not TaskState.IN_PROGRESS:
        return None
    return Reason("twin_runs", True, {"task_id": duplicate.id})


def _suspect(sight: Sight) -> Reason | None:
    if sight.task.crashes < SUSPECT_CRASHES:
        return None
    return Reason("suspect", True, {"crashes": sight.task.crashes})


def _hold(sight: Sight) -> Reason | None:
    """A job of its type, or of its key, has asked for a hold."""
    limit = limit_of(sight.session, sight.task)
    if limit is not None:
        until, name = limit.held_until, masked_text(limit.key)
    else:
        name = sight.task.task_type
        until = held_until(sight.session.connection(), HoldKind.TASK_TYPE, name)
    return None if until is None else Reason("held", True, {"name": name, "until": until})


def _limit(sight: Sight) -> Reason | None:
    limit = limit_of(sight.session, sight.task)
    if limit is None or limit.held_until is not None or limit.places > 0:
        return None
    facts: dict[str, Any] = {"limit": masked_text(limit.key)}
    if limit.rate is not None:
        facts |= {"rate": limit.rate, "per": limit.per, "free_at": limit.free_at}
    else:
        facts |= {"at_once": limit.at_once, "running": list(limit.running)}
    return Reason("limit", True, facts)


def _tick(sight: Sight) -> Reason | None:
    found = tick_of(sight.session, sight.task)
    if found is None:
        return None
    schedule, tick = found
    return Reason("scheduled", False, {"schedule": schedule.label, "tick": tick.slot})


Finder = Callable[[Sight], Reason | None]
FINDERS: tuple[Finder, ...] = (
    _due,
    _expiry,
    _pause,
    _worker,
    _unknown_class,
    _duplicate,
    _suspect,
    _hold,
    _limit,
    _tick,
)
"""Each looks at one thing. What is new that may hold a task is one more of them."""


def _turn(sight: Sight) -> Reason:
    ahead = _ahead(sight)
    threads = sum(one.threads for one in sight.takers)
    busy = sum(one.running for one in sight.takers)
    return Reason(
        "ahead" if ahead else "next",
        True,
        {
            "ahead": min(ahead, COUNTED_AHEAD),
            "more": ahead > COUNTED_AHEAD,
            "threads": threads,
            "busy": min(busy, threads),
        },
    )


def _ahead(sight: Sight) -> int:
    """How many are due and go first, counted up to one more than `COUNTED_AHEAD`: a probe of the index a priority."""
    task = sight.task
    if task.limited:
        return _ahead_under_limit(sight)
    probes = []
    for priority in PRIORITIES:
        if priority < task.priority:
            continue
        probe = select(Task.id).where(
            Task.task_type == task.task_type,
            Task.state.in_(WAITING),
            Task.priority == priority,
            Task.scheduled_at <= func.now(),
        )
        if priority == task.priority:
            probe = probe.where(tuple_(Task.scheduled_at, Task.id) < tuple_(task.scheduled_at, task.id))
        probes.append(probe.limit(COUNTED_AHEAD + 1).subquery().select())
    few = union_all(*probes).limit(COUNTED_AHEAD + 1).subquery()
    return sight.session.scalar(select(func.count()).select_from(few)) or 0


def _ahead_under_limit(sight: Sight) -> int:
    """The same of those that wait for the same key of a limit."""
    task, mine = sight.task, aliased(Parked)
    before = or_(
        Parked.priority > task.priority,
        and_(
            Parked.priority == task.priority,
            tuple_(Parked.scheduled_at, Parked.task_id) < tuple_(task.scheduled_at, task.id),
        ),
    )
    few = (
        select(Parked.task_id)
        .join(mine, (mine.key == Parked.key) & (mine.task_id == task.id))
        .where(Parked.scheduled_at <= func.now(), before)
        .limit(COUNTED_AHEAD + 1)
        .subquery()
    )
    return sight.session.scalar(select(func.count()).select_from(few)) or 0
