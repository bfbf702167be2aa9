"""Enqueues from your own application and reads the status of its jobs."""

from spoils.client.client import Client, aenqueue, aenqueue_many, enqueue, enqueue_many
from spoils.client.status import JobStatus

__all__ = ["Client", "JobStatus", "aenqueue", "aenqueue_many", "enqueue", "enqueue_many"]
