"""The sentence of health at the top of every page. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from spoils.web.dashboard.shared.formats import coarse, one_line, plural, span

CALM_SECONDS = 5
BEHIND_SECONDS = 300


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
    limited: frozenset[str] = frozenset()
    """The types whose oldest due job is under limits, for which it may wait on purpose."""


@dataclass(frozen=True, slots=True)
class Health:
    """A headline and the details; `needs_you` makes it the most prominent element of the page."""

    strong: str
    rest: str
    needs_you: bool = False
    glyph: str = "well"
    task_type: str | None = None
    """The type whose waiting jobs the link leads to; all types without one."""


INCOMPLETE = Health(
    "The database is slow.",
    "Some figures took too long and are left out. Try again in a moment.",
    glyph="waits",
)


def judge(seen: Observed) -> Health:
    """The worst problem there is. Paused types wait on purpose, so they are mentioned last."""
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
    return replace(health, rest=f"{health.rest} {_paused(seen)}".strip())


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
    due_for = {
        name: age for name, age in seen.due_for.items() if name not in seen.limited or name in seen.unknown
    }
    oldest = max(due_for.values(), default=None)
    if oldest is None:
        return Health("Healthy.", "All due jobs are under limits." if seen.due_for else "No jobs are due.")
    if oldest <= CALM_SECONDS:
        return Health("Healthy.", f"No job has been due for more than {CALM_SECONDS} s.")
    if oldest < BEHIND_SECONDS:
        return Health("Healthy.", f"The oldest due job has waited {span(oldest)}.")
    slowest = max(due_for, key=lambda name: due_for[name])
    if job := seen.unknown.get(slowest):
        return Health(
            f"No running worker knows {one_line(job)}.",
            f"Its oldest job has waited {coarse(oldest)}.",
            needs_you=True,
            glyph="needs-you",
            task_type=slowest,
        )
    return Health(
        "Falling behind.",
        f"The oldest due job, of type {slowest}, has waited {coarse(oldest)}.",
        needs_you=True,
        glyph="needs-you",
        task_type=slowest,
    )


def _no_workers(seen: Observed) -> Health:
    waiting = sum(seen.waiting.values())
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
