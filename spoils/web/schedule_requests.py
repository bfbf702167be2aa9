"""Reads the schedule that a client asks for: its class, cron and payload, for the API's requests and the dashboard's
forms.
"""

from typing import Any

from spoils.config import current_settings
from spoils.job import Job
from spoils.job.cron import Cron, CronError, ZoneError
from spoils.masking import MASK
from spoils.queue.schedules import ScheduleRefused, check_class
from spoils.web.build_job import InvalidRequest, build_job


def read_cron(cron: str, timezone: str | None) -> Cron:
    """The cron in its zone, by default that of SPOILS_CRON_TIMEZONE. Raises InvalidRequest for one or both."""
    expression = " ".join(cron.split())
    wrong: dict[str, str] = {}
    try:
        return Cron(expression, (timezone or "").strip() or current_settings().cron_timezone)
    except ZoneError as exc:
        wrong["timezone"] = str(exc)
    except CronError as exc:
        wrong["cron"] = str(exc)
    if "timezone" in wrong:
        try:
            Cron(expression)
        except CronError as exc:
            wrong["cron"] = str(exc)
    raise InvalidRequest(" ".join(wrong.values()), wrong)


def read_payload(job_class: type[Job], payload: dict[str, Any]) -> Job:
    """The job that the schedule is to enqueue. Raises InvalidRequest, for a masked value too."""
    try:
        check_class(job_class)
    except ScheduleRefused as exc:
        raise refused(exc) from exc
    for name, value in payload.items():
        if value == MASK:
            sentence = f"{name} is the mask that is shown instead of a secret. Send the secret itself."
            raise InvalidRequest(sentence, {name: sentence})
    return build_job(job_class, payload)


def refused(error: ScheduleRefused) -> InvalidRequest:
    """What the queue refuses, as an error of the request."""
    return InvalidRequest(str(error), {error.field: str(error)} if error.field else None)
