"""The job classes that can be enqueued by hand, with their policy in words."""

import inspect
from dataclasses import dataclass

from spoils.job import Job
from spoils.job.registry import registry
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.cron_words import describe


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A job class in a list."""

    endpoint: str
    task_type: str
    name: str
    about: str
    policy: str


def list_job_classes() -> tuple[ClassRow, ...]:
    """Every class but the queue's own hidden ones, by type."""
    return tuple(
        ClassRow(one.endpoint, one.task_type, one.__name__, about(one), ", ".join(_policy(one)))
        for one in sorted(registry, key=lambda one: one.task_type)
        if not one.hidden
    )


def about(job_class: type[Job]) -> str:
    """The first paragraph of its docstring."""
    text = inspect.cleandoc(job_class.__doc__ or "")
    return " ".join(text.partition("\n\n")[0].split())


def retries(job_class: type[Job]) -> str:
    """ "3 retries"."""
    return formats.plural(job_class.max_retries, "retry", "retries")


def _policy(job_class: type[Job]) -> list[str]:
    cron = describe(job_class.cron) if job_class.cron else ""
    found = ["unique" if job_class.uniq else "", retries(job_class), cron[:1].lower() + cron[1:]]
    return [each for each in found if each]
