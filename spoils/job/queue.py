"""What a running job may touch."""

from datetime import datetime
from logging import LoggerAdapter
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from spoils.job.base import Job


class Queue(Protocol):
    """The queue as a job's `run` sees it, for the time of one attempt."""

    @property
    def task_id(self) -> UUID:
        """The id of the task's row."""

    @property
    def attempt(self) -> int:
        """Which failure-counted attempt this is, from 0: the number that `backoff` would get if it failed."""

    @property
    def session(self) -> Session:
        """A session whose writes commit together with this task's completion, or not at all.

        Opened at first use. A commit or rollback of the job's own ends only a savepoint.
        """

    @property
    def cancelled(self) -> bool:
        """Whether an operator has asked this task to stop."""

    @property
    def stopping(self) -> bool:
        """Whether the worker is shutting down; what has not ended by its deadline is given back."""

    def checkpoint(self) -> None:
        """End here, if the worker is stopping or an operator has cancelled: call it where it is safe to.

        Raises an exception that only the queue should catch. A stopping worker gives the task back uncounted.
        """

    @property
    def log(self) -> "LoggerAdapter[Any]":
        """A logger whose lines carry the task's id and attempt."""

    def enqueue(self, job: "Job", *, at: datetime | None = None, priority: int = 0) -> None:
        """Enqueue `job` if and when this attempt finishes: it goes in with the task's own completion.

        `at` is the moment before which it is not due (aware; default now), `priority` is −2 … 2, higher first.
        """
