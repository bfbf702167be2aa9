"""How an attempt ends, as values: what a job may say, and what the queue writes for it."""

from dataclasses import dataclass
from enum import StrEnum

from spoils.errors import SpoilsError


@dataclass(frozen=True, slots=True)
class Snooze:
    """Returned from `run`: perform this task again after `seconds`; it counts as no retry."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """Returned from `run`: the task is failed for good, and `reason` says why."""

    reason: str


Outcome = Snooze | Cancel


class RetryLater(SpoilsError):
    """Raised in `run`: try again after `seconds` instead of after the class's own backoff.

    It counts as a retry, so that an upstream that always says "later" ends as failed.
    """

    def __init__(self, seconds: float, message: str | None = None) -> None:
        super().__init__(message or f"Asked to try again in {seconds:g} s.")
        self.seconds = seconds


class Interrupted(BaseException):
    """The job was ended from outside."""

    # A BaseException, so that a job's `except Exception` does not swallow it by accident.

    def __init__(self) -> None:
        super().__init__((self.__doc__ or "").strip())


class TimedOut(Interrupted):
    """It took longer than its timeout."""


class Cancelled(Interrupted):
    """It was cancelled by an operator."""


class GivenBack(Interrupted):
    """The worker is shutting down."""


class Ending(StrEnum):
    """The recorded outcome of one attempt."""

    FINISHED = "finished"
    FAILED = "failed"
    RETRIED = "retried"
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Report:
    """What went wrong in an attempt, ready to be stored: no NUL, no lone surrogate, bounded in length."""

    error_class: str
    message: str
    traceback: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What settle has to write: the ending, the seconds until the task is due again, and the report."""

    ending: Ending
    delay_seconds: float = 0.0
    report: Report | None = None


FINISHED = Verdict(Ending.FINISHED)
