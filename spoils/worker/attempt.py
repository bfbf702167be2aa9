"""One attempt as its job sees it: the `Queue` that is passed to `run`."""

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from psycopg2 import InterfaceError
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from spoils.db.engine import first_in_transaction
from spoils.errors import SpoilsError
from spoils.job import Job, OnDuplicate
from spoils.job.base import Batch, Chain, Member
from spoils.job.batch import BatchResult, Condition
from spoils.job.outcome import Cancelled, GivenBack, Interrupted
from spoils.job.output import LONGEST_LINE, LONGEST_NOTE, JobLog, Output
from spoils.job.steps import StepCalls
from spoils.models import db
from spoils.models.base import running_unit
from spoils.queue.batches import new_batch, new_chain
from spoils.queue.claim import Claim
from spoils.queue.steps import StepLog
from spoils.worker.error_report import storable
from spoils.worker.forks import InForkedProcess, end_forked_process
from spoils.worker.interruption import Interruption

_log = logging.getLogger("spoils.job")
Result = TypeVar("Result")


class NotAsync(SpoilsError):
    """queue.in_session is for an `async def run`. Use queue.session here."""


class NoBatch(SpoilsError):
    """queue.add_to_batch is for a member of a batch, which this job is not. Use queue.enqueue or queue.batch."""


@dataclass(frozen=True, slots=True)
class Note:
    """A job to enqueue once this attempt has finished."""

    job: Job
    at: datetime | None
    priority: int
    on_duplicate: OnDuplicate = "skip"


class Attempt(StepCalls):
    """Implements `spoils.job.Queue`, and the unit that `db.session` joins while the job runs."""

    output: Output | None = None
    """Its progress and log lines. Of the class, since most jobs report none."""

    def __init__(
        self,
        claim: Claim,
        job: Job,
        *,
        engine: Engine,
        stopping: threading.Event,
        step_log: StepLog | None = None,
    ) -> None:
        """Without a `step_log` steps are not stored, since the job has no row."""
        self.claim = claim
        self.job: Job = job
        self._step_log = step_log
        self.notes: list[Note] = []
        self.batches: list[Batch | Chain] = []
        self.added_to_batch: list[Member] = []
        self.started_at = time.monotonic()
        self.cancelled_at: float | None = None
        self.interruption = Interruption()
        self.interrupted_at = 0.0
        self.interrupted_by: type[Interrupted] | None = None
        self.given_up = False
        self.in_job = False
        """Whether the thread runs the job's own code, or commits what it wrote."""
        self.thread = threading.get_ident()
        self._process = os.getpid()
        self._engine = engine
        self._stopping = stopping
        self._connection: Connection | None = None
        # Kept apart: a SQLAlchemy connection that has failed does not give it.
        self._driver: Any = None
        # Held while the connection is returned and while it is cut: a late cut would hit another job's connection.
        self._giving_back = threading.Lock()

    @property
    def task_id(self) -> UUID:
        return self.claim.id

    @property
    def attempt(self) -> int:
        return self.claim.retries

    @property
    def ran_ms(self) -> int:
        """For how long the job has run."""
        return round((time.monotonic() - self.started_at) * 1000)

    @property
    def session(self) -> Session:
        session: Session = db.session()
        self.connection  # noqa: B018 - a session that was only asked for counts as opened
        return session

    @property
    def cancelled(self) -> bool:
        return self.cancelled_at is not None

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def log(self) -> JobLog:
        return JobLog(_log, {"task_id": self.claim.key, "attempt": self.claim.attempts}, keep=self._keep_line)

    def progress(self, done: float, *, of: float | None = None, note: str | None = None) -> None:
        self._reporting().report(done, of, None if note is None else storable(str(note), LONGEST_NOTE))

    def _keep_line(self, text: str) -> None:
        self._reporting().add(storable(text, LONGEST_LINE))

    def _reporting(self) -> Output:
        if self.output is None:
            self.output = Output()
        return self.output

    def in_session(self, _function: Callable[[Session], Result], /) -> Awaitable[Result]:
        """Only an async job needs it, and only there something awaits it."""
        raise NotAsync

    def checkpoint(self) -> None:
        if self.cancelled:
            raise Cancelled
        if self.stopping:
            raise GivenBack

    def enqueue(
        self,
        job: Job,
        *,
        at: datetime | None = None,
        priority: int = 0,
        on_duplicate: OnDuplicate = "skip",
    ) -> None:
        self.notes.append(Note(job, at, priority, on_duplicate))

    def read_steps(self) -> dict[str, str]:
        """The steps that earlier attempts have done. The first attempt asks nothing."""
        return self._step_log.read(self.claim) if self._step_log and self.claim.attempts > 1 else {}

    def write_step(self, name: str, result: str, ran_ms: int) -> None:
        """Commit a step. Raises ClaimLost where the task now belongs to another attempt."""
        if os.getpid() != self._process:
            raise InForkedProcess
        if self._step_log is not None:
            self._step_log.write(self.claim, name, result, ran_ms)

    @contextmanager
    def batch(
        self, *, then: Job | None = None, name: str | None = None, on: Condition = "end"
    ) -> Iterator[Batch]:
        batch = new_batch(then=then, name=name, on=on)
        try:
            yield batch
        finally:
            batch.close()
        self.batches.append(batch)

    def add_to_batch(self, job: Job, *, at: datetime | None = None, priority: int = 0) -> None:
        if self.claim.batch_id is None:
            raise NoBatch
        self.added_to_batch.append(Member(job, at, priority))

    def chain(
        self,
        first: Job,
        /,
        *others: Job,
        name: str | None = None,
        at: datetime | None = None,
        priority: int = 0,
    ) -> UUID:
        chain = new_chain([first, *others], name=name, at=at, priority=priority)
        self.batches.append(chain)
        return chain.id

    @property
    def batch_result(self) -> BatchResult | None:
        counts = self._handed_over.get("batch")
        return None if counts is None else BatchResult(**{**counts, "id": UUID(counts["id"])})

    @property
    def previous(self) -> Any:
        return self._handed_over.get("result")

    @property
    def _handed_over(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.claim.previous or "{}")
        return found

    @property
    def enqueues(self) -> bool:
        """Whether the job enqueued anything."""
        return bool(self.notes or self.batches or self.added_to_batch)

    @property
    def opened(self) -> bool:
        """Whether the job has opened its transaction."""
        return self._connection is not None

    @property
    def connection(self) -> Connection:
        """The transaction of all that the job writes and of its completion; begun at first use."""
        if os.getpid() != self._process:
            raise InForkedProcess
        if self._connection is None:
            self._connection = self._begin(self._engine.connect())
        return self._connection

    def _begin(self, connection: Connection) -> Connection:
        try:
            self._driver = connection.connection.driver_connection  # first: a cut may be needed from here on
            connection.begin()
            if rules := first_in_transaction(connection):
                connection.exec_driver_sql(rules)
        except BaseException:
            with self._giving_back:
                self._driver = None
            connection.close()
            raise
        return connection

    def end_if_forked(self) -> None:
        """End this process if the job has forked it. Called where the job's code returns or raises."""
        if os.getpid() != self._process:
            end_forked_process(sys.exception())

    def ask_to_stop(self) -> None:
        """An operator's cancel."""
        if self.cancelled_at is None:
            self.cancelled_at = time.monotonic()

    def interrupt(self, kind: type[Interrupted]) -> None:
        """Fail whatever the session does from now on, so that nothing is committed. Called from another thread."""
        self.interrupted_at, self.interrupted_by = time.monotonic(), kind
        self.cut()

    def interrupt_code(self, kind: type[Interrupted], *, anywhere: bool) -> bool:
        """Raise `kind` in the job's code, once that is safe or with `anywhere`; whether that was done."""
        return self.interruption.interrupt(kind, anywhere=anywhere)

    def cut(self) -> None:
        """Close the session's socket, from another thread: the statement that the job waits for fails at once.

        The server ends the statement within a second (`spoils.db.engine`). A cancel request would need another
        connection, which may hang.
        """
        with self._giving_back, suppress(OSError, InterfaceError):  # it may be closed already
            if self._driver is not None and not self._driver.closed:
                with socket.socket(fileno=os.dup(self._driver.fileno())) as ours:
                    ours.shutdown(socket.SHUT_RDWR)

    def cause_of(self, error: BaseException) -> BaseException:
        """Why the attempt ended if its job or its commit raised `error`: its interruption, if there was one."""
        if self.interrupted_by is None or isinstance(error, Interrupted):
            return error
        cause = self.interrupted_by().with_traceback(error.__traceback__)
        cause.__cause__ = error
        return cause

    def close(self) -> None:
        """Roll back what is not committed, and give the connection back."""
        if self._connection is None:
            return
        try:
            db.session.remove()
        finally:
            with self._giving_back:
                connection, self._connection, self._driver = self._connection, None, None
            if self.interrupted_by is not None:
                connection.invalidate()
            connection.close()


def interrupt_at_line(_record: logging.LogRecord) -> bool:
    """A filter of the log handler: a job that does nothing but log is interrupted at one of its lines."""
    unit = running_unit.get()
    if isinstance(unit, Attempt):
        unit.interruption.raise_postponed()
    return True
