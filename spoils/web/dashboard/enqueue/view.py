"""The job classes and their forms, as the pages of enqueueing need them."""

import inspect as reflection
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spoils.job import Job
from spoils.job.registry import registry
from spoils.web.dashboard.enqueue.form import Field
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.status_bar import Strip

PRIORITIES = (
    ("2", "2, before all others"),
    ("1", "1"),
    ("0", "0, as usual"),
    ("-1", "-1"),
    ("-2", "-2, after all others"),
)


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A job class in the list of all."""

    endpoint: str
    task_type: str
    name: str
    about: str
    policy: str


@dataclass(frozen=True, slots=True)
class EnqueuePage:
    """The form of one class, and what will become of what is sent."""

    endpoint: str
    task_type: str
    about: str
    fields: tuple[Field, ...]
    policy: tuple[tuple[str, str], ...]
    at: str
    at_wrong: str
    zone: str
    priority: str
    priorities: tuple[tuple[str, str], ...]
    wrong: str
    wrong_fields: tuple[Field, ...]
    curl: str
    again: str | None


def classes() -> tuple[ClassRow, ...]:
    """Every class that may be enqueued by hand."""
    return tuple(
        ClassRow(
            endpoint=one.endpoint,
            task_type=one.task_type,
            name=one.__name__,
            about=about(one),
            policy=", ".join(_short(one)),
        )
        for one in sorted(registry, key=lambda one: one.task_type)
        if not one.hidden
    )


def about(job_class: type[Job]) -> str:
    """The first paragraph of its docstring."""
    text = reflection.cleandoc(job_class.__doc__ or "")
    return " ".join(text.partition("\n\n")[0].split())


def policy(job_class: type[Job], strip: Strip) -> tuple[tuple[str, str], ...]:
    """What holds for each job of the class, as labels and sentences."""
    unique = (
        "Yes. While one with this payload waits or runs, a second one is not made; you get a link to the first."
        if job_class.uniq
        else "No. Each time you enqueue it, it runs."
    )
    found = [
        ("Class", job_class.__name__),
        ("Unique", unique),
        ("Retries", f"At most {_retries(job_class)}."),
    ]
    if job_class.timeout is not None:
        found.append(("Timeout", f"An attempt is ended after {formats.span(job_class.timeout)}."))
    if job_class.cron:
        found.append(("By the clock", f"{job_class.cron}, {job_class.cron_timezone or 'in the set zone'}."))
    waiting = sum(
        number for state, number in _counts(job_class, strip).items() if state in ("new", "retried")
    )
    found.append(("Waiting", f"{formats.plural(waiting, 'job')} of this type."))
    if job_class.task_type not in strip.taken:
        found.append(("Workers", "No live worker takes it now; it would wait for one."))
    return tuple(found)


def correction(wrong: Mapping[str, str]) -> str:
    """How many fields need one."""
    count = len(wrong)
    return f"{'One field needs' if count == 1 else f'{count} fields need'} a correction:"


def _counts(job_class: type[Job], strip: Strip) -> Mapping[str, int]:
    of: Mapping[Any, int] = strip.counts.get(job_class.task_type, {})
    return {state.value: number for state, number in of.items()}


def _short(job_class: type[Job]) -> list[str]:
    found = ["unique"] if job_class.uniq else []
    found.append(_retries(job_class))
    if job_class.cron:
        found.append(f"by the clock {job_class.cron}")
    return found


def _retries(job_class: type[Job]) -> str:
    return f"{job_class.max_retries:,} {'retry' if job_class.max_retries == 1 else 'retries'}"
