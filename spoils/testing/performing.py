"""Performs jobs in this process, with the code of the worker."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, NoReturn, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, any_, event, func, select

from spoils.client import Client
from spoils.client.client import default_client
from spoils.config import Settings
from spoils.db.engine import make_engine
from spoils.errors import SettingError, SpoilsError
from spoils.job import Job
from spoils.job.definition import is_async
from spoils.job.outcome import Verdict
from spoils.job.registry import registry
from spoils.models import WAITING, Task, db
from spoils.queue import worker_rows
from spoils.queue.actions import act
from spoils.queue.claim import Claim, claim
from spoils.queue.claim_scan import ClaimScan
from spoils.queue.claim_scope import COMMON, SUSPECT_CRASHES, known_here, types, waits
from spoils.queue.enqueue import Enqueued, row
from spoils.queue.ids import new_key
from spoils.queue.settle import settle
from spoils.queue.settlement import Settlement
from spoils.worker.attempt import Attempt, Note
from spoils.worker.performer import Performer
from spoils.worker.worker_application import application_name, create_worker_app

AnyJob = TypeVar("AnyJob", bound=Job)
AnyRecorder = TypeVar("AnyRecorder", bound="_Recorder")

NEEDS_DATABASE = "use the fixture spoils_database, set DATABASE_URL, or pass client=…"


class EnqueuedJob(NamedTuple):
    """A job that another one enqueued, with the options that it gave."""

    job: Job
    at: datetime | None
    priority: int


@dataclass(frozen=True)
class Performed:
    """What one attempt did."""

    job: Job | None
    """The job as it was read from its payload; None where that did not fit."""
    outcome: str
    """finished, failed, retried, snoozed, cancelled or released."""
    result: Any = None
    """The value that it returned with `Done`."""
    error: str | None = None
    """Class and text of what it raised, or the reason of a Cancel, as they are stored: with secrets masked."""
    exception: BaseException | None = field(default=None, compare=False, repr=False)
    """What it raised, where it failed."""
    delay_seconds: float = 0.0
    """Until the next attempt of a retried or snoozed job."""
    enqueue_calls: tuple[EnqueuedJob, ...] = ()
    """The jobs that it enqueued, with their options; none unless it finished."""

    @property
    def enqueued(self) -> list[Job]:
        """The jobs that it enqueued."""
        return [one.job for one in self.enqueue_calls]


def perform(job: AnyJob, *, attempt: int = 0, client: Client | None = None) -> Performed:
    """Perform one attempt of `job`, which is in no database, as a worker would.

    `queue.session` opens a transaction in the database of `client` or DATABASE_URL. It is committed if the job
    finishes, else rolled back. What the job enqueues is checked and returned, but not put into a queue. `attempt` is
    the number of failures before. Raises PayloadError where the job could not be enqueued.
    """
    settings = Settings.from_env()
    values = row(job, at=None, priority=0, key=new_key())
    job.check_round_trip(values["metadata"])
    alone = Claim(
        key=values["id"],
        task_type=job.task_type,
        kind=type(job).__name__,
        metadata=values["metadata"],
        retries=attempt,
        attempts=attempt + 1,
        crashes=0,
        priority=0,
        scheduled_at="",
        claimed_at="",
    )
    url = client._url if client else settings.database_url
    with _performer(_Rowless, settings, url, uuid4()) as performer:
        return performer.performed(alone)


def drain(client: Client | None = None, *, scheduled: bool = False, limit: int = 1000) -> list[Performed]:
    """Perform every job that is due, also those that they enqueue and retries that fall due; in the order of a worker.

    With `scheduled` also those that are scheduled for later, each as soon as nothing else is due. Returns what each
    attempt did. Raises SpoilsError after `limit` attempts: a job may enqueue itself without end.
    """
    settings = Settings.from_env()
    client = client or _client_of(settings)
    worker_id = uuid4()
    engine = make_engine(
        client._url, connections=1, application_name=application_name(worker_id), autocommit=True
    )
    done: list[Performed] = []
    try:
        with (
            engine.connect() as connection,
            _registered(connection, worker_id),
            _performer(_Recorder, settings, client._url, worker_id) as performer,
        ):
            while claimed := _claim(connection, worker_id, client, scheduled=scheduled):
                done.append(performer.performed(claimed))
                _settle(connection, worker_id, performer.take_settlements(), settings.release)
                if len(done) == limit:
                    raise SpoilsError(
                        f"drain performed {limit} attempts: does a job enqueue itself? Else pass limit=…"
                    )
    finally:
        engine.dispose()
    return done


def enqueued(job_class: type[AnyJob], *, client: Client | None = None) -> list[AnyJob]:
    """The jobs of a class that wait, those that are due first at the beginning."""
    client = client or _client_of(Settings.from_env())
    statement = (
        select(Task.payload)
        .where(Task.payload["type"].astext == job_class.__name__, Task.state.in_(WAITING))
        .order_by(Task.scheduled_at, Task.id)
    )
    with client._engine.begin() as connection:
        # The class itself says what it reads from a row, so that is what comes back.
        return [_read(job_class, payload) for payload in connection.scalars(statement)]


def _read(job_class: type[AnyJob], payload: dict[str, Any]) -> AnyJob:
    job = job_class.from_wire(json.dumps(payload))
    assert isinstance(job, job_class)  # noqa: S101 - for the type checker
    return job


def _client_of(settings: Settings) -> Client:
    # Never the development database, whose jobs would be performed.
    if settings.database_url is None:
        raise SettingError(f"There is no database: {NEEDS_DATABASE}.")
    return default_client()


class _Recorder(Performer):
    """Keeps what the attempt did."""

    def __init__(self, **collaborators: Any) -> None:
        self._settlements: list[Settlement] = []
        self._attempt: Attempt | None = None
        self._settled: Verdict | None = None
        super().__init__(
            registry=registry,
            stopping=threading.Event(),
            hand_over=self._settlements.append,
            drop=lambda _token: None,
            **collaborators,
        )

    def performed(self, claimed: Claim) -> Performed:
        """Perform it, and say what it did."""
        self._forget()
        job_class = registry.get(claimed.kind or "")
        if job_class is not None and is_async(job_class):
            # In a thread of its own: this one may have a running event loop.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(copy_context().run, asyncio.run, self.perform_async(claimed)).result()
        else:
            with self.at_work():
                self.perform(claimed)
        attempt, verdict = self._attempt, self._settled
        if verdict is None:
            raise SpoilsError(f"Job {claimed.key} was deleted or claimed by a worker while it ran.")
        report = verdict.report
        notes: Sequence[Note] = attempt.notes if attempt and verdict.ending == "finished" else ()
        return Performed(
            job=attempt.job if attempt else None,
            outcome=verdict.ending.value,
            result=None if verdict.result is None else json.loads(verdict.result),
            error=f"{report.error_class}: {report.message}".removeprefix(": ") if report else None,
            exception=verdict.error,
            delay_seconds=verdict.delay_seconds,
            enqueue_calls=tuple(EnqueuedJob(note.job, note.at, note.priority) for note in notes),
        )

    def take_settlements(self) -> list[Settlement]:
        """What is to be written and was not taken yet."""
        taken = list(self._settlements)
        self._settlements.clear()
        return taken

    def _forget(self) -> None:
        self._attempt, self._settled = None, None

    def _begin(self, attempt: Attempt) -> None:
        self._attempt = attempt
        super()._begin(attempt)

    def _complete(self, attempt: Attempt, settlement: Settlement) -> list[tuple[Job, Enqueued]]:
        entered = super()._complete(attempt, settlement)
        self._settled = settlement.verdict
        return entered

    def _settle(self, claim: Claim, verdict: Verdict, ran_ms: int) -> None:
        self._settled = verdict
        super()._settle(claim, verdict, ran_ms)


class _Rowless(_Recorder):
    """Performs a job that has no row: its completion commits the session alone."""

    def _complete(self, attempt: Attempt, settlement: Settlement) -> list[tuple[Job, Enqueued]]:
        for note in attempt.notes:
            row(note.job, at=note.at, priority=note.priority, key=new_key())  # raises what enqueue would
        if attempt.opened:
            attempt.connection.commit()
        self._settled = settlement.verdict
        return []

    def _uncounted(self, attempt: Attempt) -> int:
        self._close(attempt)
        return 0  # no earlier attempt is recorded


@contextmanager
def _performer(
    kind: type[AnyRecorder], settings: Settings, url: str | None, worker_id: UUID
) -> Iterator[AnyRecorder]:
    app = create_worker_app(settings, database_url=url or "postgresql://", worker_id=worker_id)
    with app.app_context():
        engine: Engine = db.engine
    if url is None:
        event.listen(engine, "do_connect", _refuse)
    try:
        yield kind(app=app, engine=engine, worker_id=worker_id)
    finally:
        engine.dispose()


def _refuse(*_: Any) -> NoReturn:
    raise SettingError(f"queue.session needs a database: {NEEDS_DATABASE}.")


@contextmanager
def _registered(connection: Connection, worker_id: UUID) -> Iterator[None]:
    """Only a worker that has a row may claim."""
    values = {
        "id": worker_id,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "release": "testing",
        "task_types": _task_types(),
        "threads": 1,
    }
    worker_rows.enter(connection, values)
    try:
        yield
    finally:
        worker_rows.leave(connection, worker_id)


def _claim(connection: Connection, worker_id: UUID, client: Client, *, scheduled: bool) -> Claim | None:
    """The next job. One at a time: what a job enqueues may come before what waits already."""
    task_type = _next(connection) or (_bring_forward(connection, client) if scheduled else None)
    if task_type is None:
        return None
    claims, _ = claim(
        connection,
        worker_id=worker_id,
        scan=ClaimScan([task_type]),  # a new one each time looks at all that waits
        kinds=_kinds(),
        limit=1,
    )
    return next(iter(claims), None)


_WAITING = (
    select(Task.task_type)
    .where(waits, known_here, Task.task_type == any_(types), Task.crashes < SUSPECT_CRASHES)
    .limit(1)
)


def _next(connection: Connection) -> str | None:
    """The type of the job that is due, has the highest priority, and was due first."""
    due = _WAITING.where(Task.scheduled_at <= func.now())
    statement = due.order_by(Task.priority.desc(), Task.scheduled_at, Task.id)
    return connection.execute(statement, _known()).scalars().first()


def _bring_forward(connection: Connection, client: Client) -> str | None:
    """Make the soonest of the scheduled jobs due; its type."""
    soonest = _WAITING.add_columns(Task.id).order_by(Task.scheduled_at, Task.id)
    found = connection.execute(soonest, _known()).first()
    if found is None:
        return None
    with client._engine.begin() as own:
        act(own, "run_now", found.id, who="drain")
    return str(found.task_type)


def _known() -> dict[str, Any]:
    return {"types": _task_types(), "kinds": _kinds(), "only_known": False}


def _task_types() -> list[str]:
    return list(dict.fromkeys([*registry.task_types(), COMMON]))


def _kinds() -> list[str]:
    return [job_class.__name__ for job_class in registry]


def _settle(connection: Connection, worker_id: UUID, settlements: Sequence[Settlement], release: str) -> None:
    written = settle(connection, settlements, worker_id=worker_id, release=release)
    for one in settlements:
        if one.key not in written:
            raise SpoilsError(
                f"The outcome of job {one.key} could not be written: it was deleted, or another transaction has "
                "locked it. Does the test hold a transaction open?"
            )
