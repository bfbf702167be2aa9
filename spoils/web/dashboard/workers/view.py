"""The workers, the types that they perform, and the workers that stopped recently."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from spoils.job.registry import registry
from spoils.models import WAITING, Task, TaskState, Worker
from spoils.reports import charts, workers
from spoils.reports.run_times import running_ms
from spoils.reports.workers import LIVE_SECONDS
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.job_row import Pair, named, summary
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.status_bar import StatusBar

DAY = timedelta(hours=24)
DRAWN_THREADS = 20
SHOWN_RUNNING = 10
SHOWN_TYPES = 100
FEW_NAMES = 4


@dataclass(frozen=True, slots=True)
class Running:
    """A running job; `slow` gives the usual run time if it takes much longer than that."""

    id: str
    task_type: str
    summary: tuple[Pair, ...]
    ran: str
    slow: str
    stopping: bool


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A process that has not stopped."""

    id: str
    name: str
    pid: int
    takes: str
    release: str
    up: formats.Moment
    memory: str
    heartbeat: str
    unresponsive: bool
    draining: bool
    busy: int
    threads: int
    bars: tuple[bool, ...]
    """Its capacity, and how much of it is busy; empty if there is too much to draw."""
    running: tuple[Running, ...]
    more: int


@dataclass(frozen=True, slots=True)
class StoppedRow:
    """A process that has stopped."""

    name: str
    pid: int
    release: str
    uptime: str
    stopped: formats.Moment
    killed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class TypeRow:
    """A type, and the workers that perform it."""

    name: str
    filter: str
    waiting: str
    oldest: str
    running: str
    taken_by: str
    untaken: bool
    unknown: bool
    """Whether jobs of it wait, and neither this release nor a worker has the type."""
    deletable: tuple[tuple[str, str], ...]
    """Of an unknown type: in which states how many jobs wait."""
    paused: formats.Moment | None
    paused_by: str


@dataclass(frozen=True, slots=True)
class WorkersPage:
    """What the page shows."""

    sentence: str
    workers: tuple[WorkerRow, ...]
    types: tuple[TypeRow, ...]
    stopped: tuple[StoppedRow, ...]
    missing: tuple[str, ...]


def show_workers(session: Session, bar: StatusBar) -> WorkersPage:
    """The page."""
    budget = QueryBudget(session)
    current = workers.current_workers(session)
    held = budget.read("the running jobs", lambda: workers.held_by(session, current)) or {}
    day = budget.read("the run times", lambda: charts.ended_by_type(session, since=bar.now - DAY)) or {}
    p95 = {name: sums.percentile_ms(0.95) for name, sums in day.items()}
    stopped = workers.stopped_workers(session)
    rescued = budget.read("the rescued jobs", lambda: workers.rescued_from(session, stopped)) or {}
    rows = tuple(_worker(worker, held.get(worker.id, []), p95, bar.now) for worker in current)
    live = [worker for worker in current if not _is_unresponsive(worker, bar.now)]
    return WorkersPage(
        sentence=_sentence(rows, live),
        workers=rows,
        types=_types(live, {name for worker in current for name in worker.task_types}, bar),
        stopped=tuple(_stopped(worker, rescued.get(worker.id, 0), bar.now) for worker in stopped),
        missing=(*bar.missing, *budget.missing),
    )


def _sentence(rows: Sequence[WorkerRow], live: Sequence[Worker]) -> str:
    if not live:
        return "No worker processes running."
    busy = sum(row.busy for row in rows if not row.unresponsive)
    processes = formats.plural(len(live), "running process", "running processes")
    capacity = formats.number(sum(worker.threads for worker in live))
    rescue = f"If a worker sends no heartbeat for {LIVE_SECONDS:.0f} s, another one rescues its jobs."
    return f"{processes}, capacity {capacity}, {formats.number(busy)} busy. {rescue}"


def _is_unresponsive(worker: Worker, now: datetime) -> bool:
    return (now - worker.beat_at).total_seconds() > LIVE_SECONDS


def _worker(
    worker: Worker, held: Sequence[Task], p95: Mapping[str, float | None], now: datetime
) -> WorkerRow:
    busy = min(worker.running, worker.threads)
    silence = (now - worker.beat_at).total_seconds()
    return WorkerRow(
        id=str(worker.id),
        name=formats.one_line(worker.host),
        pid=worker.pid,
        takes=_names(worker.task_types),
        release=formats.one_line(worker.release),
        up=formats.moment(worker.started_at, now),
        memory=formats.memory(worker.rss),
        heartbeat=f"{max(silence, 0):.1f} s" if silence < 10 else formats.span(silence),
        unresponsive=_is_unresponsive(worker, now),
        draining=worker.draining,
        busy=busy,
        threads=worker.threads,
        bars=tuple(at < busy for at in range(worker.threads)) if worker.threads <= DRAWN_THREADS else (),
        running=tuple(_running(task, p95.get(task.task_type), now) for task in held[:SHOWN_RUNNING]),
        more=max(len(held) - SHOWN_RUNNING, 0),
    )


def _running(task: Task, usual: float | None, now: datetime) -> Running:
    ran = running_ms(task, now)
    slow = usual is not None and ran > max(2 * usual, 1_000)
    return Running(
        id=str(task.id),
        task_type=named(task.task_type),
        summary=summary(task.payload, most=1),
        ran=formats.run_time(ran),
        slow=f"p95 is {formats.run_time(usual)}" if slow else "",
        stopping=task.cancel_requested_at is not None,
    )


def _names(names: Sequence[str]) -> str:
    return formats.listed([formats.shortened(formats.one_line(name), 40) for name in names], FEW_NAMES)


def _stopped(worker: Worker, rescued: int, now: datetime) -> StoppedRow:
    ended = worker.ended_at or now
    killed = worker.ended_how not in ("clean", "recycled")
    reason = "Recycled" if worker.ended_how == "recycled" else "Stopped cleanly"
    if killed:
        reason = (
            f"Killed; last heartbeat {worker.beat_at:%H:%M:%S} UTC; {formats.plural(rescued, 'job')} rescued"
        )
        reason += f"; memory {formats.memory(worker.rss)}" if worker.rss else ""
    return StoppedRow(
        name=formats.one_line(worker.host),
        pid=worker.pid,
        release=formats.one_line(worker.release),
        uptime=formats.span((ended - worker.started_at).total_seconds()),
        stopped=formats.moment(ended, now),
        killed=killed,
        reason=reason,
    )


def _types(live: Sequence[Worker], known: Set[str], bar: StatusBar) -> tuple[TypeRow, ...]:
    hosts: dict[str, set[str]] = {}
    for worker in live:
        for name in worker.task_types if not worker.draining else ():
            hosts.setdefault(name, set()).add(worker.host)
    names = sorted(
        {*bar.counts, *hosts, *bar.paused},
        # Paused types come first, so that they are found and resumed, then types that no worker performs.
        key=lambda name: (
            name not in bar.paused,
            name in hosts or not bar.waiting(name),
            -bar.waiting(name),
            name,
        ),
    )
    known = known | set(registry.task_types())
    return tuple(
        _type(name, sorted(hosts.get(name, ())), bar, known=name in known) for name in names[:SHOWN_TYPES]
    )


def _type(name: str, hosts: Sequence[str], bar: StatusBar, *, known: bool) -> TypeRow:
    pause = bar.paused.get(name)
    waiting = {state: bar.count([name], state) for state in WAITING}
    return TypeRow(
        name=named(name),
        filter=name,
        waiting=formats.number(bar.waiting(name)),
        oldest=bar.oldest_of(name),
        running=formats.number(bar.count([name], TaskState.IN_PROGRESS)),
        taken_by=_names(hosts),
        untaken=not hosts and bool(bar.waiting(name)),
        unknown=not known and bool(bar.waiting(name)),
        deletable=tuple((state.value, formats.number(number)) for state, number in waiting.items() if number),
        paused=formats.moment(pause.paused_at, bar.now) if pause else None,
        paused_by=pause.paused_by if pause else "",
    )
