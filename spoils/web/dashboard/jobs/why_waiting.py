"""Why a job waits, in words."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from spoils.models import WAITING, Task
from spoils.reports import why_waiting
from spoils.web.dashboard.shared import formats


@dataclass(frozen=True, slots=True)
class Reason:
    """One line: `holds` it, or was looked at and does not."""

    holds: bool
    strong: str
    rest: str = ""
    moment: formats.Moment | None = None
    """Stands behind the strong words."""
    task: str | None = None
    """The job that stands in the way."""


def why_it_waits(session: Session, task: Task, now: datetime) -> tuple[Reason, ...]:
    """The reasons, those that hold first; none for a job that does not wait."""
    if task.state not in WAITING:
        return ()
    return tuple(in_words(reason, now) for reason in why_waiting.find(session, task))


def in_words(reason: why_waiting.Reason, now: datetime) -> Reason:
    """A finding as it is told."""
    facts, name = reason.facts, formats.one_line(str(reason.facts.get("task_type", "")))
    match reason.kind:
        case "not_due":
            return _not_due(reason, now)
        case "due":
            due = formats.moment(facts["due_at"], now)
            return Reason(False, "", f"It has been due for {due.span if due else '–'}.")
        case "paused":
            since = formats.moment(facts["paused_at"], now)
            rest = f"{facts['paused_by']} paused it {since.age if since else ''}; it goes on when somebody resumes it."
            return Reason(True, f"The type {name} is paused.", rest)
        case "no_worker":
            return Reason(True, "No worker is live.", "Work begins when one starts.")
        case "no_taker":
            rest = "Start one that does, or leave WORKER_TASK_TYPES out."
            return Reason(True, f"No live worker takes {name}.", rest)
        case "taken":
            takes = (
                "A live worker takes" if facts["workers"] == 1 else f"{facts['workers']} live workers take"
            )
            return Reason(False, "", f"{takes} {name}.")
        case "twin_runs":
            rest = "It starts when that one has ended."
            return Reason(True, "The same unique job runs.", rest, task=str(facts["task_id"]))
        case "suspect":
            rest = (
                f"A worker died {facts['crashes']} times while it ran, so it waits for a process with nothing else "
                "in its hands."
            )
            return Reason(True, "It is performed alone.", rest)
        case "ahead":
            return _ahead(reason)
        case "next":
            return Reason(
                True, "It is next of its type.", _threads(reason) or "It starts as soon as a thread is free."
            )
        case "ended":
            return Reason(True, f"It does not wait: it is {facts['state']}.")
        case _:
            return Reason(reason.holds, reason.kind.replace("_", " ").capitalize() + ".")


def _not_due(reason: why_waiting.Reason, now: datetime) -> Reason:
    due = formats.moment(reason.facts["due_at"], now)
    waits = ""
    if "attempt" in reason.facts:
        ended = {"snoozed": "asked for a pause", "timed_out": "ran out of time"}.get(
            reason.facts["outcome"], "failed"
        )
        pause = formats.span(reason.facts["delay_ms"] / 1_000)
        waits = f" Attempt {reason.facts['attempt']} {ended}, so it waits {pause}."
    if due is None or due.span == "never":
        return Reason(True, "Never due.", waits.strip())
    return Reason(True, "Not due until", f"in {due.span}.{waits}", due)


def _ahead(reason: why_waiting.Reason) -> Reason:
    ahead = reason.facts["ahead"]
    number = f"{ahead:,}{'+' if reason.facts['more'] else ''}"
    strong = f"{number} of its type {'is' if ahead == 1 else 'are'} ahead."
    return Reason(True, strong, f"They started to wait before it. {_threads(reason)}".strip())


def _threads(reason: why_waiting.Reason) -> str:
    threads, busy = reason.facts["threads"], reason.facts["busy"]
    return f"All {threads} threads that take its type are busy." if threads and busy >= threads else ""
