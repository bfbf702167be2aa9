"""Spoils: a job queue in one PostgreSQL table. What is imported from here is public; docs/python.md lists it."""

from spoils.client import (
    BatchStatus,
    Client,
    JobStatus,
    abatch,
    achain,
    aenqueue,
    aenqueue_many,
    batch,
    chain,
    enqueue,
    enqueue_many,
)
from spoils.errors import PayloadError
from spoils.job import (
    Batch,
    BatchResult,
    Cancel,
    Concurrency,
    Done,
    Job,
    Outcome,
    Queue,
    Rate,
    RetryLater,
    Snooze,
    around,
)
from spoils.version import __version__

__all__ = [
    "Batch",
    "BatchResult",
    "BatchStatus",
    "Cancel",
    "Client",
    "Concurrency",
    "Done",
    "Job",
    "JobStatus",
    "Outcome",
    "PayloadError",
    "Queue",
    "Rate",
    "RetryLater",
    "Snooze",
    "__version__",
    "abatch",
    "achain",
    "aenqueue",
    "aenqueue_many",
    "around",
    "batch",
    "chain",
    "enqueue",
    "enqueue_many",
]
