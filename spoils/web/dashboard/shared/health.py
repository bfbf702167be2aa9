"""The sentence of health at the top of every page. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from spoils.reports.charts import Recent
from spoils.reports.forecast import SETTLED_SECONDS, Forecast
from spoils.web.dashboard.shared.formats import coarse, one_line, percent, plural, span

CALM_SECONDS = 5
BUSY_SECONDS = 30
"""A job that has been due for so long at full capacity is mentioned: what runs may wait for one and the same thing."""
BEHIND_SECONDS = 300
FAILING_SHARE = 0.2
FAILING_ATTEMPTS = 5
"""Attempts of a type fail if so many did, and so large a share: one unlucky job is no incident."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is judged. By type: how many jobs wait, and for how many seconds the oldest has been due."""

    waiting: Mapping[str, int]
    due_for: Mapping[str, float]
    live_workers: int
    taken: frozenset[str]
    """The types that a running worker performs."""
    paused: frozenset[str] = frozenset()
    unknown: Mapping[str, str] = field(default_factory=dict)
    """The types whose oldest due job has a class that no running worker knows, and that class."""
    recent: Mapping[str, Recent] = field(default_factory=dict)
    """The attempts of the last minutes."""
    forecasts: Mapping[str, Forecast] = field(default_factory=dict)
    minutes: int = 5
    """How many minutes `recent` covers, and the one that is not over."""
    limited: frozenset[str] = frozenset()
    """The types whose oldest due job is under limits, for which it may wait on purpose."""
    missed: tuple[str, ...] = ()
    """A sentence for each schedule whose last tick was missed."""
    own: frozenset[str] = frozenset()
    """The types of the queue's own jobs, which the list of all waiting jobs leaves out."""
    running: int = 0
    capacity: int = 0
    """How many jobs the live workers that claim run at a time."""


@dataclass(frozen=True, slots=True)
class Health:
    """A headline and the details; `needs_you` makes it the most prominent element of the page."""

    strong: str
    rest: str
    needs_you: bool = False
    glyph: str = "well"
    task_type: str | None = None
    """The type whose waiting jobs the link leads to; all types without one."""
    page: Literal["jobs", "errors", "schedules", "workers"] = "jobs"
    """The page that the link leads to."""


INCOMPLETE = Health(
    "The database is slow.",
    "Some figures took too long and are left out. Try again in a moment.",
    glyph="waits",
)


def judge(seen: Observed) -> Health:
    """The worst problem there is. Paused types wait on purpose, so they are mentioned last, but not as well."""
    if not seen.paused:
        return _judge(seen)
    # Without a worker all jobs wait for one, whether their type is paused or not.
    held = seen.paused if seen.live_workers else frozenset[str]()
    others = replace(
        seen,
        waiting={name: number for name, number in seen.waiting.items() if name not in held},
        due_for={name: age for name, age in seen.due_for.items() if name not in seen.paused},
    )
    health = _judge(others)
    glyph = "waits" if health.glyph == "well" and any(map(seen.waiting.get, seen.paused)) else health.glyph
    return replace(health, rest=f"{health.rest} {_paused(seen)}".strip(), glyph=glyph)


def _paused(seen: Observed) -> str:
    first, *others = sorted(seen.paused)
    waiting = sum(seen.waiting.get(name, 0) for name in seen.paused)
    types = f"{first} and {plural(len(others), 'other type')} are" if others else f"{first} is"
    return f"{types} paused with {plural(waiting, 'job')} waiting." if waiting else f"{types} paused."


def _judge(seen: Observed) -> Health:
    if not seen.live_workers:
        return _no_workers(seen)
    if untaken := {name: age for name, age in seen.due_for.items() if name not in seen.taken}:
        return _no_worker_takes(seen, untaken)
    if failing := {name: of for name, of in seen.recent.items() if _is_failing(of)}:
        return _attempts_fail(failing, seen.minutes)
    due_for = {
        name: age for name, age in seen.due_for.items() if name not in seen.limited or name in seen.unknown
    }
    oldest = max(due_for.values(), default=None)
    growing = [name for name in due_for if _is_growing(seen, name)]
    if oldest is None or (oldest < BEHIND_SECONDS and not growing):
        if seen.missed:
            return _missed(seen)
        if oldest and oldest > BUSY_SECONDS and 0 < seen.capacity <= seen.running:
            running = f"{plural(seen.running, 'job is', 'jobs are')} running."
            return Health(
                "At full capacity.", f"{running} {_calm(seen, oldest)}", glyph="waits", page="workers"
            )
        return Health("Healthy.", _calm(seen, oldest))
    slowest = max(growing or due_for, key=lambda name: due_for[name])
    if job := seen.unknown.get(slowest):
        return Health(
            f"No running worker knows {one_line(job)}.",
            f"Its oldest job has waited {coarse(oldest)}.",
            needs_you=True,
            glyph="needs-you",
            task_type=slowest,
        )
    outlook = f": {seen.forecasts[slowest].sentence}" if slowest in seen.forecasts else ""
    return Health(
        f"Falling behind{outlook}.",
        f"The oldest due job of type {slowest} has waited {coarse(seen.due_for[slowest])}.",
        needs_you=True,
        glyph="needs-you",
        task_type=slowest,
    )


def _calm(seen: Observed, oldest: float | None) -> str:
    if oldest is None:
        return "All due jobs are under limits." if seen.due_for else "No jobs are due."
    if oldest <= CALM_SECONDS:
        return f"No job has been due for more than {CALM_SECONDS} s."
    return f"The oldest due job has waited {span(oldest)}."


def _missed(seen: Observed) -> Health:
    first, *others = seen.missed
    return Health(
        first,
        f"{plural(len(others), 'other schedule')} missed a tick too." if others else "",
        needs_you=True,
        glyph="needs-you",
        page="schedules",
    )


def _is_failing(of: Recent) -> bool:
    return of.failed >= FAILING_ATTEMPTS and of.failed >= of.ended * FAILING_SHARE


def _attempts_fail(failing: Mapping[str, Recent], minutes: int) -> Health:
    worst = max(failing, key=lambda name: failing[name].failed)
    of, others = failing[worst], len(failing) - 1
    too = f" {plural(others, 'other type is', 'other types are')} failing too." if others else ""
    return Health(
        f"{worst}: {percent(of.failed, of.ended)} of attempts failed in the last {minutes} min.",
        f"{plural(of.failed, 'attempt')} of {of.ended:,}.{too}",
        needs_you=True,
        glyph="needs-you",
        task_type=worst,
        page="errors",
    )


def _is_growing(seen: Observed, name: str) -> bool:
    return (
        name in seen.forecasts
        and seen.due_for[name] > SETTLED_SECONDS
        and seen.forecasts[name].growth_per_second > 0
    )


def _no_workers(seen: Observed) -> Health:
    waiting = sum(number for name, number in seen.waiting.items() if name not in seen.own)
    if not waiting:
        return Health("No workers running.", "No jobs are waiting either.", glyph="waits")
    if not seen.due_for:
        return Health("No workers running.", f"{_jobs_wait(waiting)}, none of them due.", glyph="waits")
    oldest = max(seen.due_for.values())
    return Health(
        f"{_jobs_wait(waiting)} and no workers are running.",
        f"The oldest has been due for {coarse(oldest)}.",
        needs_you=True,
        glyph="needs-you",
    )


def _no_worker_takes(seen: Observed, untaken: Mapping[str, float]) -> Health:
    worst = max(untaken, key=lambda name: seen.waiting.get(name, 0))
    waiting, others = seen.waiting.get(worst, 0), len(untaken) - 1
    too = f" {plural(others, 'other type is', 'other types are')} affected too." if others else ""
    return Health(
        f"{plural(waiting, 'job')} of type {worst} {'waits' if waiting == 1 else 'wait'} "
        "and no running worker performs this type.",
        f"The oldest has waited {coarse(untaken[worst])}.{too}",
        needs_you=True,
        glyph="needs-you",
        task_type=worst,
    )


def _jobs_wait(count: int) -> str:
    return f"{plural(count, 'job')} {'waits' if count == 1 else 'wait'}"
