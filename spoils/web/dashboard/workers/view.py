"""The workers, as their page needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.models import WAITING, Task, TaskState, Worker
from spoils.reports import charts, workers
from spoils.reports.run_times import running_ms
from spoils.reports.workers import LIVE_SECONDS
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.job_row import Pair, named, summary
from spoils.web.dashboard.shared.query_budget import Patience
from spoils.web.dashboard.shared.status_bar import Strip

DAY = timedelta(hours=24)
DRAWN_THREADS = 20
SHOWN_RUNNING = 10
SHOWN_TYPES = 100
FEW_NAMES = 4


@dataclass(frozen=True, slots=True)
class Running:
    """A job in a worker's hands; `slow` says what it is compared with, where it runs far longer than its like."""

    id: str
    task_type: str
    summary: tuple[Pair, ...]
    ran: str
    slow: str
    stopping: bool


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A process that is there."""

    id: str
    name: str
    pid: int
    takes: str
    release: str
    up: formats.Moment | None
    memory: str
    beat: str
    silent: bool
    draining: bool
    busy: int
    threads: int
    bars: tuple[bool, ...]
    """Whether each thread is busy; empty where there are too many to draw."""
    running: tuple[Running, ...]
    more: int


@dataclass(frozen=True, slots=True)
class GoneRow:
    """A process that is not there any more."""

    name: str
    pid: int
    release: str
    lived: str
    gone: formats.Moment | None
    killed: bool
    words: str


@dataclass(frozen=True, slots=True)
class TypeRow:
    """Who takes a type."""

    name: str
    filter: str
    waiting: str
    oldest: str
    running: str
    taken_by: str
    untaken: bool
    paused: formats.Moment | None
    paused_by: str


@dataclass(frozen=True, slots=True)
class Crew:
    """What the page shows."""

    sentence: str
    workers: tuple[WorkerRow, ...]
    types: tuple[TypeRow, ...]
    gone: tuple[GoneRow, ...]
    missing: tuple[str, ...]


def show_crew(session: Session, strip: Strip) -> Crew:
    """The page."""
    patience = Patience(session)
    standing = workers.standing_workers(session)
    held = patience.read("what runs now", lambda: workers.held_by(session, standing)) or {}
    day = patience.read("run times", lambda: charts.ended_by_type(session, since=strip.now - DAY)) or {}
    p95 = {name: sums.percentile_ms(0.95) for name, sums in day.items()}
    gone = workers.gone_workers(session)
    rescued = patience.read("what was rescued", lambda: workers.rescued_from(session, gone)) or {}
    rows = tuple(_worker(worker, held.get(worker.id, []), p95, strip.now) for worker in standing)
    live = [worker for worker in standing if not _silent(worker, strip.now)]
    return Crew(
        sentence=_sentence(rows, live),
        workers=rows,
        types=_types(live, strip),
        gone=tuple(_gone(worker, rescued.get(worker.id, 0), strip.now) for worker in gone),
        missing=(*strip.missing, *patience.missing),
    )


def _sentence(rows: Sequence[WorkerRow], live: Sequence[Worker]) -> str:
    if not live:
        return "No process is live."
    busy = sum(row.busy for row in rows if not row.silent)
    processes = formats.counted(len(live), "live process", "live processes")
    threads = formats.plural(sum(worker.threads for worker in live), "thread")
    return f"{processes}, {threads}, {formats.number(busy)} busy. After 30 s of silence a worker's jobs go to another."


def _silent(worker: Worker, now: datetime) -> bool:
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
        beat=f"{max(silence, 0):.1f} s" if silence < 10 else formats.span(silence),
        silent=_silent(worker, now),
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


def _names(task_types: Sequence[str]) -> str:
    names = [formats.shortened(formats.one_line(name), 40) for name in task_types[:FEW_NAMES]]
    rest = len(task_types) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def _gone(worker: Worker, rescued: int, now: datetime) -> GoneRow:
    ended = worker.ended_at or now
    killed = worker.ended_how != "clean"
    words = (
        f"Silent since {worker.beat_at:%H:%M:%S} UTC"
        if killed
        else "It was asked to stop, and held nothing any more."
    )
    if killed:
        jobs = f"{formats.plural(rescued, 'job')} of its {'was' if rescued == 1 else 'were'} rescued"
        memory = f" Its memory was {formats.memory(worker.rss)}." if worker.rss else ""
        words = f"{words}; {jobs}.{memory}"
    return GoneRow(
        name=formats.one_line(worker.host),
        pid=worker.pid,
        release=formats.one_line(worker.release),
        lived=formats.span((ended - worker.started_at).total_seconds()),
        gone=formats.moment(ended, now),
        killed=killed,
        words=words,
    )


def _types(live: Sequence[Worker], strip: Strip) -> tuple[TypeRow, ...]:
    taken: dict[str, list[str]] = {}
    for worker in live:
        for name in worker.task_types if not worker.draining else ():
            taken.setdefault(name, []).append(worker.host)
    names = sorted(
        {*strip.counts, *taken, *strip.paused},
        # Who is paused comes first: it must be found to be resumed.
        key=lambda name: (
            name not in strip.paused,
            name in taken or not _waiting(strip, name),
            -_waiting(strip, name),
            name,
        ),
    )
    return tuple(_type(name, taken.get(name, []), strip) for name in names[:SHOWN_TYPES])


def _type(name: str, hosts: Sequence[str], strip: Strip) -> TypeRow:
    pause = strip.paused.get(name)
    oldest = formats.coarse(strip.due_for[name]) if name in strip.due_for else None
    waiting = _waiting(strip, name)
    return TypeRow(
        name=named(name),
        filter=name,
        waiting=formats.number(waiting),
        oldest=f"{oldest.number} {oldest.unit}".strip() if oldest else "–",
        running=formats.number(strip.counts[name][TaskState.IN_PROGRESS] if name in strip.counts else 0),
        taken_by=_names(sorted(set(hosts))) if hosts else "no live worker",
        untaken=not hosts and bool(waiting),
        paused=formats.moment(pause.paused_at, strip.now) if pause else None,
        paused_by=pause.paused_by if pause else "",
    )


def _waiting(strip: Strip, name: str) -> int:
    return sum(strip.counts[name][state] for state in WAITING) if name in strip.counts else 0


def find_worker(session: Session, worker_id: UUID) -> Worker | None:
    """The worker of that id, living or gone."""
    return session.get(Worker, worker_id)
