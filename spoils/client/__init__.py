"""Enqueues from your own application and reads the status of its jobs."""

from spoils.client.client import (
    Client,
    abatch,
    achain,
    aenqueue,
    aenqueue_many,
    batch,
    chain,
    enqueue,
    enqueue_many,
)
from spoils.client.status import BatchStatus, JobStatus

__all__ = [
    "BatchStatus",
    "Client",
    "JobStatus",
    "abatch",
    "achain",
    "aenqueue",
    "aenqueue_many",
    "batch",
    "chain",
    "enqueue",
    "enqueue_many",
]
