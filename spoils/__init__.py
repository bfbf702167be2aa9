"""Spoils: a job queue in one PostgreSQL table. What is imported from here is public; docs/python.md lists it."""

from spoils.client import Client, JobStatus, aenqueue, aenqueue_many, enqueue, enqueue_many
from spoils.errors import PayloadError
from spoils.job import Cancel, Done, Job, Outcome, Queue, RetryLater, Snooze, Unique, around
from spoils.version import __version__

__all__ = [
    "Cancel",
    "Client",
    "Done",
    "Job",
    "JobStatus",
    "Outcome",
    "PayloadError",
    "Queue",
    "RetryLater",
    "Snooze",
    "Unique",
    "__version__",
    "aenqueue",
    "aenqueue_many",
    "around",
    "enqueue",
    "enqueue_many",
]
