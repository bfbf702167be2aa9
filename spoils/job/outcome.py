"""How an attempt ends, as values: what a job may say, and what the queue writes for it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(Exception):
    """How a job may end its attempt, other than by returning None or failing: returned from `run`, or raised in it."""


@dataclass
class Done(Outcome):
    """The job is done, and `result`, a JSON value of at most 64 KiB, is kept with it.

    Example: `return Done({"receipt": receipt.id})`
    """

    result: Any

    __hash__ = Exception.__hash__


@dataclass(unsafe_hash=True)
class Snooze(Outcome):
    """Perform this task again after `seconds`; it counts as no retry."""

    seconds: float


@dataclass(unsafe_hash=True)
class Cancel(Outcome):
    """The task is failed for good, and `reason` says why."""

    reason: str


@dataclass(unsafe_hash=True)
class RetryLater(Outcome):
    """Try again after `seconds` instead of after the class's own backoff.

    It counts as a retry, so that an upstream that always says "later" ends as failed. With `hold=True` no other task of
    its type is started before then either, in the whole fleet; where the class has limits, none of the same key of its
    first limit.
    """

    seconds: float
    message: str | None = None
    hold: bool = False

    def __str__(self) -> str:
        return self.message or f"Asked to try again in {self.seconds} s."


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
    """What settle has to write: the ending, the seconds until the task is due again, the report of a failure, the
    result of a finished job as JSON text, and for how many seconds others of its type are held. The `error` of a
    failure is for the log alone."""

    ending: Ending
    delay_seconds: float = 0.0
    report: Report | None = None
    result: str | None = None
    hold_seconds: float = 0.0
    error: BaseException | None = field(default=None, compare=False, repr=False)


FINISHED = Verdict(Ending.FINISHED)
