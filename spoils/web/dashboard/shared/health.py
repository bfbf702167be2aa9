"""The sentence of health. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from spoils.web.dashboard.shared.formats import coarse, plural, span

CALM_SECONDS = 5
BEHIND_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Seen:
    """What is judged: by type how many wait and how many seconds the oldest has been due; who is there."""

    waiting: Mapping[str, int]
    due_for: Mapping[str, float]
    live_workers: int
    taken: frozenset[str]
    paused: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Health:
    """A sentence in two voices; `needs_you` makes it the loudest thing on the page."""

    strong: str
    rest: str
    needs_you: bool = False
    glyph: str = "well"
    task_type: str | None = None
    """The type whose waiting jobs are worth a look."""


LEFT_OUT = Health(
    "The database is slow.",
    "Some figures took too long and are left out. Try again in a moment.",
    glyph="waits",
)


def judge(seen: Seen) -> Health:
    """The one thing to say, the worst first. What is paused waits on purpose, and is told after it."""
    if not seen.paused:
        return _judge(seen)
    # Without a worker all of it waits for one, paused or not.
    held = seen.paused if seen.live_workers else frozenset[str]()
    rest = Seen(
        waiting={name: number for name, number in seen.waiting.items() if name not in held},
        due_for={name: age for name, age in seen.due_for.items() if name not in seen.paused},
        live_workers=seen.live_workers,
        taken=seen.taken,
    )
    health = _judge(rest)
    return replace(health, rest=f"{health.rest} {_paused(seen)}".strip())


def _paused(seen: Seen) -> str:
    first, *others = sorted(seen.paused)
    waiting = sum(seen.waiting.get(name, 0) for name in seen.paused)
    names = f"{first} and {plural(len(others), 'other type')} are" if others else f"{first} is"
    return f"{names} paused, and {_jobs_wait(waiting)} for that." if waiting else f"{names} paused."


def _judge(seen: Seen) -> Health:
    if not seen.live_workers:
        return _nobody(seen)
    if untaken := {name: age for name, age in seen.due_for.items() if name not in seen.taken}:
        return _untaken(seen, untaken)
    oldest = max(seen.due_for.values(), default=None)
    if oldest is None:
        return Health("Work flows.", "No due job waits.")
    if oldest <= CALM_SECONDS:
        return Health("Work flows.", "Every type has a live worker and no due job waits longer than 5 s.")
    if oldest < BEHIND_SECONDS:
        return Health(
            "Work flows.", f"Every type has a live worker; the oldest due job waits {span(oldest)}."
        )
    slowest = max(seen.due_for, key=lambda name: seen.due_for[name])
    return Health(
        "Work is behind.",
        f"Every type has a live worker, but the oldest due job, of type {slowest}, waits {_coarse(oldest)}.",
        needs_you=True,
        glyph="needs-you",
        task_type=slowest,
    )


def _nobody(seen: Seen) -> Health:
    waiting = sum(seen.waiting.values())
    if not waiting:
        return Health(
            "No worker is live.", "Nothing waits either. Work begins when one starts.", glyph="waits"
        )
    if not seen.due_for:
        return Health("No worker is live.", f"{_jobs_wait(waiting)}, none can start yet.", glyph="waits")
    oldest = max(seen.due_for.values())
    strong = f"{_jobs_wait(waiting)} and no worker is live."
    return Health(strong, f"The oldest is due for {_coarse(oldest)}.", needs_you=True, glyph="needs-you")


def _untaken(seen: Seen, untaken: Mapping[str, float]) -> Health:
    worst = max(untaken, key=lambda name: seen.waiting.get(name, 0))
    waiting = seen.waiting.get(worst, 0)
    others = f" So it is with {plural(len(untaken) - 1, 'other type')}." if len(untaken) > 1 else ""
    return Health(
        f"{plural(waiting, 'job')} of type {worst} {'waits' if waiting == 1 else 'wait'} "
        "and no live worker takes that type.",
        f"The oldest waits {_coarse(untaken[worst])}.{others}",
        needs_you=True,
        glyph="needs-you",
        task_type=worst,
    )


def _jobs_wait(count: int) -> str:
    return f"{plural(count, 'job')} {'waits' if count == 1 else 'wait'}"


def _coarse(seconds: float) -> str:
    figure = coarse(seconds)
    return f"{figure.number} {figure.unit}"
