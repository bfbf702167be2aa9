"""One attempt as its job sees it: the `Queue` that is handed to `run`."""

import logging
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from spoils.job import Job
from spoils.models import db
from spoils.queue.claim import Claim


@dataclass(frozen=True, slots=True)
class Note:
    """A job to enqueue once this attempt has finished."""

    job: Job
    at: datetime | None
    priority: int


class Attempt:
    """Implements `spoils.job.Queue`, and the unit that `db.session` joins while the job runs."""

    def __init__(self, claim: Claim, *, engine: Engine, stopping: threading.Event) -> None:
        self.claim = claim
        self.notes: list[Note] = []
        self._engine = engine
        self._stopping = stopping
        self._cancelled = threading.Event()
        self._connection: Connection | None = None

    @property
    def task_id(self) -> UUID:
        return self.claim.id

    @property
    def attempt(self) -> int:
        return self.claim.retries

    @property
    def session(self) -> Session:
        session: Session = db.session()
        self.connection  # noqa: B018 - a session that was only asked for counts as opened
        return session

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def log(self) -> "logging.LoggerAdapter[Any]":
        return logging.LoggerAdapter(
            logging.getLogger("spoils.job"), {"task_id": self.claim.id, "attempt": self.claim.attempts}
        )

    def enqueue(self, job: Job, *, at: datetime | None = None, priority: int = 0) -> None:
        self.notes.append(Note(job, at, priority))

    @property
    def opened(self) -> bool:
        """Whether the job has touched the database."""
        return self._connection is not None

    @property
    def connection(self) -> Connection:
        """The transaction's connection, taken from the pool at first use."""
        if self._connection is None:
            self._connection = self._engine.connect()
            self._connection.begin()
        return self._connection

    def ask_to_stop(self) -> None:
        """An operator's cancel."""
        self._cancelled.set()

    def interrupt(self) -> None:
        """Abort the statement that the session is executing, from another thread."""
        if self._connection is not None and not self._connection.closed:
            driver = self._connection.connection.driver_connection
            if driver is not None:
                driver.cancel()

    def close(self) -> None:
        """Roll back what is not committed, and give the connection back."""
        if self._connection is None:
            return
        try:
            db.session.remove()
        finally:
            connection, self._connection = self._connection, None
            connection.close()
