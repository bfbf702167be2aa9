"""The contract of a job: what a class of `spoils/jobs/` is made from."""

from spoils.job.base import Batch, Job, Queue
from spoils.job.batch import BatchResult
from spoils.job.hooks import around
from spoils.job.limits import Concurrency, Rate
from spoils.job.outcome import Cancel, Done, Outcome, RetryLater, Snooze
from spoils.job.unique import OnDuplicate, Unique

__all__ = [
    "Batch",
    "BatchResult",
    "Cancel",
    "Concurrency",
    "Done",
    "Job",
    "OnDuplicate",
    "Outcome",
    "Queue",
    "Rate",
    "RetryLater",
    "Snooze",
    "Unique",
    "around",
]
