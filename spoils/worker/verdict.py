"""From what `run` did to what settle writes. Pure, the random number aside."""

import random
from dataclasses import replace

from spoils import backoff
from spoils.job import Cancel, Job, RetryLater, Snooze
from spoils.outcome import FINISHED, Ending, Report, Verdict
from spoils.worker.report import report_of, storable


def of_return(value: object) -> Verdict:
    """The verdict on what `run` returned; anything but an Outcome counts as done."""
    match value:
        case Snooze(seconds):
            return Verdict(Ending.SNOOZED, backoff.clamp(seconds))
        case Cancel(reason):
            return Verdict(Ending.CANCELLED, report=Report("", storable(str(reason), 10_000)))
        case _:
            return FINISHED


def of_failure(job: Job, error: BaseException, retries: int) -> Verdict:
    """The verdict on what `run` raised: another try after its delay, or failed where the retries are used up."""
    report = report_of(error)
    if retries >= job.max_retries:
        return Verdict(Ending.FAILED, report=report)
    if isinstance(error, RetryLater):
        return Verdict(Ending.RETRIED, backoff.jittered(backoff.clamp(error.seconds), random.random), report)
    try:
        seconds = backoff.clamp(job.backoff(retries))
    except BaseException as exc:  # noqa: BLE001 - user code
        seconds = backoff.clamp(None)
        note = f"\n\nIts backoff raised {type(exc).__name__}; the next try is in {seconds:g} s."
        report = replace(report, traceback=(report.traceback or "") + note)
    return Verdict(Ending.RETRIED, backoff.jittered(seconds, random.random), report)


def of_misfit(sentence: str) -> Verdict:
    """The verdict on a row that no class here can perform: failed at once, since no retry would mend it."""
    return Verdict(Ending.FAILED, report=Report("", storable(sentence, 10_000)))


def of_broken_class(error: BaseException) -> Verdict:
    """The verdict on a row whose class raised while it was made from it: failed, as there is no job to ask."""
    return Verdict(Ending.FAILED, report=report_of(error))
