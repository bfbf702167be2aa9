"""The log lines of an attempt, in the words that the guide greps for."""

import logging

from spoils.job.outcome import Ending, Verdict
from spoils.log_format import TRACEBACKS
from spoils.masking import masked_text
from spoils.queue.claim import Claim

log = logging.getLogger("spoils.worker")


def log_ending(claim: Claim, verdict: Verdict, ran_ms: int, name: str) -> None:
    """Log how an attempt ended.

    A failure's record carries its error, for other handlers. Our own log writes the field `traceback` instead.
    """
    if verdict.ending is Ending.FINISHED and not log.isEnabledFor(logging.INFO):
        return  # before the fields are made, for nothing
    fields = {**log_fields("settle", claim), "ran_ms": ran_ms}
    report = verdict.report
    error = f"{report.error_class}: {report.message}".removeprefix(": ") if report else ""
    # As a tuple: logging would ask the error itself whether it is true.
    cause = verdict.error
    exc_info = None if cause is None else (type(cause), cause, cause.__traceback__)
    if report:
        fields["traceback"] = report.traceback if TRACEBACKS.isEnabledFor(logging.DEBUG) else ""
    match verdict.ending:
        case Ending.FINISHED:
            log.info("Finished %s", name, extra=fields)
        case Ending.RELEASED:
            log.info(
                "Released job %s%s", name, f": {masked_text(error[:500])}" if error else "", extra=fields
            )
        case Ending.SNOOZED:
            log.info("Snoozed %s", name, extra={**fields, "delay_seconds": round(verdict.delay_seconds, 1)})
        case Ending.RETRIED | Ending.TIMED_OUT:
            log.warning(
                "Failed %s, will be retried: %s",
                name,
                error[:500],
                exc_info=exc_info,
                extra={**fields, "delay_seconds": round(verdict.delay_seconds, 1)},
            )
        case _:
            log.error("Failed %s: %s", name, error[:500], exc_info=exc_info, extra=fields)


def log_fields(action: str, claim: Claim) -> dict[str, object]:
    """The fields of a line about this claim."""
    return {"action": action, "task_id": claim.key, "task_type": claim.task_type, "attempt": claim.attempts}
