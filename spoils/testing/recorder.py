"""One attempt in this process, by the worker's own code, with a record of what it did."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, NoReturn, TypeVar
from uuid import UUID

from sqlalchemy import Engine, event

from spoils.config import Settings
from spoils.errors import SettingError, SpoilsError
from spoils.job import Job, OnDuplicate, wire
from spoils.job.base import Batch, Chain
from spoils.job.definition import is_async
from spoils.job.outcome import Verdict
from spoils.job.output import Progress
from spoils.job.registry import registry
from spoils.models import db
from spoils.queue.batches import as_json
from spoils.queue.claim import Claim
from spoils.queue.enqueue import Enqueued, row
from spoils.queue.ids import new_key
from spoils.queue.settlement import Settlement
from spoils.worker.attempt import Attempt, Note
from spoils.worker.performer import Performer
from spoils.worker.worker_application import create_worker_app

AnyRecorder = TypeVar("AnyRecorder", bound="Recorder")

NEEDS_DATABASE = "use the fixture spoils_database, set DATABASE_URL, or pass client=…"


class EnqueuedJob(NamedTuple):
    """A job that another one enqueued, with the options that it gave."""

    job: Job
    at: datetime | None
    priority: int
    on_duplicate: OnDuplicate = "skip"


class EnqueuedBatch(NamedTuple):
    """A batch that a job enqueued."""

    jobs: list[Job]
    then: Job | None
    name: str | None
    on: str


@dataclass(frozen=True)
class Performed:
    """What one attempt did."""

    job: Job | None
    """The job, decoded from its payload; None if the payload is invalid."""
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
    batches: tuple[EnqueuedBatch, ...] = ()
    """The batches that it enqueued."""
    chains: tuple[list[Job], ...] = ()
    """The jobs of each chain that it enqueued."""
    added_to_batch: tuple[EnqueuedJob, ...] = ()
    """The jobs that it added to its own batch."""
    steps: Mapping[str, Any] = field(default_factory=dict)
    """The steps that it did itself, with their results; those of earlier attempts are not among them."""

    progress: Progress | None = None
    """What it reported last by `queue.progress`: `done`, `of` and `note`."""
    log: tuple[str, ...] = ()
    """The last 200 lines of `queue.log("text")`, with secrets masked."""

    @property
    def enqueued(self) -> list[Job]:
        """The jobs that it enqueued by `queue.enqueue`."""
        return [one.job for one in self.enqueue_calls]


class Recorder(Performer):
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
        # Of an attempt that did not finish nothing is enqueued.
        finished = attempt if verdict.ending == "finished" else None
        notes: Sequence[Note] = finished.notes if finished else ()
        batches = finished.batches if finished else ()
        return Performed(
            job=attempt.job if attempt else None,
            outcome=verdict.ending.value,
            result=None if verdict.result is None else json.loads(verdict.result),
            error=f"{report.error_class}: {report.message}".removeprefix(": ") if report else None,
            exception=verdict.error,
            delay_seconds=verdict.delay_seconds,
            enqueue_calls=tuple(
                EnqueuedJob(note.job, note.at, note.priority, note.on_duplicate) for note in notes
            ),
            batches=tuple(
                EnqueuedBatch([member.job for member in one.members], one.then, one.name, one.on)
                for one in batches
                if isinstance(one, Batch)
            ),
            chains=tuple([link.job for link in one.links] for one in batches if isinstance(one, Chain)),
            added_to_batch=tuple(EnqueuedJob(*one) for one in finished.added_to_batch) if finished else (),
            steps=dict(attempt.steps_run) if attempt else {},
            progress=attempt.output.progress if attempt and attempt.output else None,
            log=tuple(line.text for line in attempt.output.lines) if attempt and attempt.output else (),
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


class RowlessRecorder(Recorder):
    """Performs a job that has no row: its completion commits the session alone, and its steps are not stored."""

    def __init__(self, **collaborators: Any) -> None:
        super().__init__(**collaborators)
        self._step_log = None
        self.steps_done: Mapping[str, Any] = {}
        """What earlier attempts have done, by the names of the steps."""

    def _begin(self, attempt: Attempt) -> None:
        attempt._steps = {name: wire.canonical(value, "result") for name, value in self.steps_done.items()}
        super()._begin(attempt)

    def _complete(self, attempt: Attempt, settlement: Settlement) -> list[tuple[Job, Enqueued]]:
        for note in attempt.notes:
            # Raises what enqueue would.
            row(
                note.job,
                at=note.at,
                priority=note.priority,
                key=new_key(),
                on_duplicate=note.on_duplicate,
            )
        for member in attempt.added_to_batch:
            row(member.job, at=member.at, priority=member.priority, key=new_key())
        for one in attempt.batches:
            as_json(one)
        if attempt.opened:
            attempt.connection.commit()
        self._settled = settlement.verdict
        return []

    def _uncounted(self, attempt: Attempt) -> int:
        self._close(attempt)
        return 0  # no earlier attempt is recorded


@contextmanager
def recording(
    kind: type[AnyRecorder], settings: Settings, url: str | None, worker_id: UUID
) -> Iterator[AnyRecorder]:
    """A recorder whose sessions use the database of `url`; without one, a job that opens its session fails."""
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
