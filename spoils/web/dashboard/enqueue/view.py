"""The page with the form of a job class: its fields, its policy, and the equivalent curl command."""

from collections.abc import Mapping
from dataclasses import dataclass

from spoils.job import Job, Unique
from spoils.job.unique import only_waiting, window_seconds
from spoils.web.dashboard.enqueue.form import Field
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.cron_words import describe
from spoils.web.dashboard.shared.job_classes import retries
from spoils.web.dashboard.shared.status_bar import StatusBar

PRIORITIES = {"2": "2, highest", "1": "1", "0": "0, default", "-1": "-1", "-2": "-2, lowest"}


@dataclass(frozen=True, slots=True)
class EnqueuePage:
    """What the page shows."""

    endpoint: str
    task_type: str
    about: str
    fields: tuple[Field, ...]
    policy: tuple[tuple[str, str], ...]
    at: str
    at_wrong: str
    zone: str
    priority: str
    wrong: str
    curl: str
    again: str | None
    edits: str | None = None
    """The id of the job whose payload the form changes, in place of enqueueing one."""
    retries: bool = False
    """Whether that job has failed, and is retried."""


def policy(job_class: type[Job], bar: StatusBar) -> tuple[tuple[str, str], ...]:
    """The policy of the class and its current situation, as labels and sentences."""
    found = [
        ("Class", job_class.__name__),
        ("Unique", _unique(job_class.uniq)),
        ("Retries", f"At most {retries(job_class)}."),
    ]
    if job_class.timeout is not None:
        found.append(("Timeout", f"An attempt is stopped after {formats.span(job_class.timeout)}."))
    if job_class.expires is not None:
        after = formats.span(job_class.expires.total_seconds())
        found.append(("Expiry", f"A job that has not started {after} after it was due fails."))
    if job_class.cron:
        zone = job_class.cron_timezone or "the configured time zone"
        found.append(("Schedule", f"{describe(job_class.cron)}, in {zone}."))
    found.append(("Waiting", f"{formats.plural(bar.waiting(job_class.task_type), 'job')} of this type."))
    if job_class.task_type not in bar.taken:
        found.append(("Workers", "No running worker performs this type. The job waits until one does."))
    return tuple(found)


def _unique(uniq: bool | Unique) -> str:
    if not uniq:
        return "No. Each job that you enqueue runs."
    fields = uniq.fields if isinstance(uniq, Unique) else ()
    what = f"with this {' and '.join(fields)}" if fields else "with this payload"
    when = "waits" if only_waiting(uniq) else "waits or runs"
    seconds = window_seconds(uniq)
    window = f", and for {formats.span(seconds)} after it was enqueued" if seconds is not None else ""
    return f"Yes. While a job {what} {when}{window}, no second one is enqueued; you get a link to the first."


def correction(wrong: Mapping[str, str]) -> str:
    """How many fields need a correction."""
    return formats.plural(len(wrong), "field needs a correction:", "fields need a correction:")
