"""The outcome of an attempt, by what `run` returned or raised. Pure, apart from the jitter."""

import inspect
import random
from dataclasses import replace
from datetime import timedelta

from spoils.errors import JobDefinitionError, PayloadError, SpoilsError
from spoils.job import Cancel, Done, Job, Outcome, RetryLater, Snooze, backoff, wire
from spoils.job.outcome import FINISHED, Cancelled, Ending, GivenBack, Report, TimedOut, Verdict
from spoils.job.steps import LARGEST_RESULT
from spoils.worker.error_report import report_of, storable, text_of
from spoils.worker.transient import is_transient

MOST_UNCOUNTED = 5
"""How often an error of the database releases a task before it counts as the job's own."""
TRANSIENT_SECONDS = 1.0
LONGEST_LEFT_SECONDS = 20.0
"""The longest time for which a row is left to workers of another release, without the jitter."""
BEFORE_ITS_LIMITS = Verdict(Ending.RELEASED)
"""The verdict on a row that was claimed without the limits of its class: released uncounted, under them."""
_EXAMPLES = 'Snooze(60), Cancel("why"), RetryLater(30), Done({"id": 7})'


def of_return(job: Job, value: object, retries: int) -> Verdict:
    """The verdict on what `run` returned. Only None and Done finish: anything else may mean that it did not run."""
    if value is None:
        return FINISHED
    if isinstance(value, Done):
        return _done(job, value, retries)
    if isinstance(value, Outcome):
        return of_failure(job, value, retries)
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that nobody awaited it
    return of_failure(job, JobDefinitionError(_misreturned(job, value)), retries)


def _done(job: Job, done: Done, retries: int) -> Verdict:
    try:
        text = wire.canonical(done.result, "result")
    except PayloadError as exc:
        return of_failure(
            job, PayloadError(f"{type(job).__name__} returned what cannot be kept: {exc}"), retries
        )
    if len(text.encode()) > LARGEST_RESULT:
        sentence = (
            f"The result of {type(job).__name__} is larger than 64 KiB: keep it elsewhere, and return where."
        )
        return of_failure(job, PayloadError(sentence), retries)
    return Verdict(Ending.FINISHED, result=text)


def _misreturned(job: Job, value: object) -> str:
    run = f"{type(job).__name__}.run"
    if inspect.isawaitable(value):
        return f"{run} returned a {type(value).__name__} that nothing awaits: write `async def run`, or take it out."
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return f"{run} returned a generator, of which nothing was executed: take the `yield` out, or loop over it."
    if isinstance(value, type) and issubclass(value, Outcome):
        return f"{run} returned the class {value.__name__}: return an instance, as in {_EXAMPLES}."
    if isinstance(value, BaseException):
        return f"{run} returned {type(value).__name__}: raise it."
    return (
        f"{run} returned a value of type {type(value).__name__}: return None when it is done, or {_EXAMPLES}."
    )


def of_failure(job: Job, error: BaseException, retries: int, uncounted: int = 0) -> Verdict:
    """The verdict on what `run` raised: what an Outcome asks for, else another try after its delay, or failed where
    the retries are used up.

    `uncounted` is how often the task was released before without counting as a retry.
    """
    if isinstance(error, Done):
        return _done(job, error, retries)
    if isinstance(error, GivenBack):
        return Verdict(Ending.RELEASED)
    if isinstance(error, Snooze):
        return Verdict(Ending.SNOOZED, backoff.clamp(error.seconds))
    if isinstance(error, Cancel):
        return Verdict(Ending.CANCELLED, report=Report("", storable(text_of(error.reason), 10_000)))
    report = report_of(error)
    if isinstance(error, Cancelled):
        return Verdict(Ending.CANCELLED, report=Report("", report.message))
    if is_transient(error) and uncounted < MOST_UNCOUNTED:
        return Verdict(Ending.RELEASED, TRANSIENT_SECONDS * random.uniform(0.5, 1.5), report)  # noqa: S311
    held = backoff.clamp(error.seconds) if isinstance(error, RetryLater) and error.hold else 0.0
    if retries >= job.max_retries:
        return Verdict(Ending.FAILED, report=report, hold_seconds=held, error=error)
    again = Ending.TIMED_OUT if isinstance(error, TimedOut) else Ending.RETRIED
    if isinstance(error, RetryLater):
        seconds = backoff.jittered(backoff.clamp(error.seconds), random.random)
        return Verdict(Ending.RETRIED, seconds, report, hold_seconds=held, error=error)
    try:
        seconds = backoff.clamp(job.backoff(retries))
    except BaseException as exc:  # noqa: BLE001 - user code
        seconds = backoff.clamp(None)
        note = f"\n\nIts backoff raised {type(exc).__name__}; the next try is in {seconds:g} s."
        report = replace(report, traceback=(report.traceback or "") + note)
    return Verdict(again, backoff.jittered(seconds, random.random), report, error=error)


class Expired(SpoilsError):
    """A job was not started in time after it was due."""


def of_expiry(job: type[Job]) -> Verdict:
    """The verdict on a task that was not started within the `expires` of its class: failed, without a retry."""
    error = Expired(f"{job.__name__} was not started within {_duration(job.expires)} after it was due.")
    return Verdict(Ending.FAILED, report=report_of(error), error=error)


def _duration(time: timedelta | None) -> str:
    """ "6 hours", by the largest unit that fits."""
    seconds = (time or timedelta()).total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % length == 0:
            number = int(seconds // length)
            return f"{number:,} {unit}{'' if number == 1 else 's'}"
    return f"{seconds:g} s"


def of_misfit(error: BaseException) -> Verdict:
    """The verdict on a row that no job could be made from: failed at once, since no retry would mend it.

    `error` is a PayloadError, or what the class itself raised.
    """
    plain = isinstance(error, PayloadError)
    report = Report("", storable(str(error), 10_000)) if plain else report_of(error)
    return Verdict(Ending.FAILED, report=report, error=error)


def left_to_others(failure: Verdict, attempts: int) -> Verdict:
    """The verdict on such a row where workers of another release may read it: released uncounted, first for a few
    seconds, at most for 30.
    """
    seconds = min(2.0 * attempts, LONGEST_LEFT_SECONDS) * random.uniform(0.5, 1.5)  # noqa: S311
    # Without an error class, which would count it as a failure of the database.
    report = Report("", failure.report.message) if failure.report else None
    return Verdict(Ending.RELEASED, seconds, report)


def of_breakdown(error: BaseException) -> Verdict:
    """The verdict where this worker itself failed at a task: no retry would mend it, unless the database failed it.

    The error is logged apart."""
    if is_transient(error):
        return Verdict(Ending.RELEASED, TRANSIENT_SECONDS, report_of(error))
    return Verdict(Ending.FAILED, report=report_of(error))
