"""Spoils: a job queue in one PostgreSQL table. What is imported from here is public; docs/python.md lists it."""

from spoils.client import Client, JobStatus, aenqueue, aenqueue_many, enqueue, enqueue_many
from spoils.errors import PayloadError
from spoils.job import Cancel, Concurrency, Done, Job, Outcome, Queue, Rate, RetryLater, Snooze, around
from spoils.version import __version__

__all__ = [
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
    "aenqueue",
    "aenqueue_many",
    "around",
    "enqueue",
    "enqueue_many",
]
