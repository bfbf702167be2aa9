"""The contract of a job: what a class of `spoils/jobs/` is made from."""

from spoils.job.base import Job, Queue
from spoils.job.outcome import Cancel, Outcome, RetryLater, Snooze

__all__ = ["Cancel", "Job", "Outcome", "Queue", "RetryLater", "Snooze"]
