"""The contract of a job: what a class of `spoils/jobs/` is made from."""

from spoils.job.base import Job, Queue
from spoils.job.hooks import around
from spoils.job.outcome import Cancel, Done, Outcome, RetryLater, Snooze
from spoils.job.unique import OnDuplicate, Unique

__all__ = [
    "Cancel",
    "Done",
    "Job",
    "OnDuplicate",
    "Outcome",
    "Queue",
    "RetryLater",
    "Snooze",
    "Unique",
    "around",
]
