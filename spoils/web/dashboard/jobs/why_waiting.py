"""The reasons why a job waits, in words."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from spoils.models import WAITING, Task
from spoils.reports import why_waiting
from spoils.web.dashboard.shared import formats


@dataclass(frozen=True, slots=True)
class Reason:
    """A line of the list: either it `holds` the job, or it was checked and does not."""

    holds: bool
    strong: str
    rest: str = ""
    moment: formats.Moment | None = None
    """Follows the strong words."""
    task: str | None = None
    """The job in the way."""


def why_it_waits(session: Session, task: Task, now: datetime) -> tuple[Reason, ...]:
    """The reasons, those that hold first; none for a job that does not wait."""
    if task.state not in WAITING:
        return ()
    return tuple(in_words(reason, now) for reason in why_waiting.find(session, task))


def in_words(reason: why_waiting.Reason, now: datetime) -> Reason:
    """A finding in words."""
    facts, name = reason.facts, formats.one_line(str(reason.facts.get("task_type", "")))
    match reason.kind:
        case "not_due":
            return _not_due(reason, now)
        case "due":
            return Reason(False, "", f"It has been due for {formats.moment(facts['due_at'], now).span}.")
        case "expires":
            when = formats.moment(facts["at"], now)
            past = facts["at"] <= now
            return Reason(
                False,
                "",
                "It has expired, and is about to be failed."
                if past
                else f"It fails as expired if it has not started in {when.span}.",
            )
        case "paused":
            age = formats.moment(facts["paused_at"], now).age
            rest = f"{facts['paused_by']} paused it {age}; it waits until somebody resumes it."
            return Reason(True, f"The type {name} is paused.", rest)
        case "no_worker":
            return Reason(True, "No workers running.", "It starts after a worker does.")
        case "no_taker":
            rest = "Start one that does, or leave WORKER_TASK_TYPES unset."
            return Reason(True, f"No running worker performs {name}.", rest)
        case "taken":
            workers = formats.plural(facts["workers"], "running worker performs", "running workers perform")
            return Reason(False, "", f"{workers} {name}.")
        case "unknown_class":
            strong = f"It waits for a worker that knows {formats.one_line(facts['job'])}."
            return Reason(True, strong, "No running worker of its type has this job class.")
        case "twin_runs":
            rest = "It starts after that one ends."
            return Reason(True, "The same unique job is running.", rest, task=str(facts["task_id"]))
        case "suspect":
            rest = (
                f"A worker died {facts['crashes']} times while it ran, so it waits for a worker process that runs "
                "nothing else."
            )
            return Reason(True, "It runs isolated.", rest)
        case "held":
            strong = f"{formats.one_line(facts['name'])} is held until"
            rest = "A job of it was asked to try again later, and asked to hold the others too."
            return Reason(True, strong, rest, formats.moment(facts["until"], now))
        case "limit":
            return _limit(reason, now)
        case "scheduled":
            schedule, tick = formats.one_line(facts["schedule"]), formats.moment(facts["tick"], now)
            return Reason(False, "", f"The schedule {schedule} enqueued it for its tick {tick.age}.")
        case "ahead":
            return _ahead(reason)
        case "next":
            rest = _full(reason) or "It starts as soon as a worker has capacity for it."
            return Reason(True, "It is next of its type.", rest)
        case _:
            return Reason(reason.holds, reason.kind.replace("_", " ").capitalize() + ".")


def _not_due(reason: why_waiting.Reason, now: datetime) -> Reason:
    due = formats.moment(reason.facts["due_at"], now)
    waits = ""
    if "attempt" in reason.facts:
        ended = {"snoozed": "was snoozed", "timed_out": "timed out"}.get(reason.facts["outcome"], "failed")
        delay = formats.span(reason.facts["delay_ms"] / 1_000)
        waits = f" Attempt {reason.facts['attempt']} {ended}; the delay before the next one is {delay}."
    if due.span == "never":
        return Reason(True, "Never due.", waits.strip())
    return Reason(True, "Not due until", f"in {due.span}.{waits}", due)


def _limit(reason: why_waiting.Reason, now: datetime) -> Reason:
    facts = reason.facts
    name = formats.one_line(facts["limit"])
    if "rate" not in facts:
        running = next((str(one) for one in facts["running"]), None)
        rest = "It starts once one of those that run has ended, in its turn."
        return Reason(True, f"Its limit is full: {name}, {facts['at_once']} at a time.", rest, task=running)
    rest = f"{facts['rate']} of them start within {facts['per']:g} s; the next one may then."
    if facts["free_at"] is None:
        return Reason(True, f"Its limit is full: {name}.", rest)
    return Reason(True, f"Its limit {name} is full until", rest, formats.moment(facts["free_at"], now))


def _ahead(reason: why_waiting.Reason) -> Reason:
    ahead = reason.facts["ahead"]
    number = f"{ahead:,}{'+' if reason.facts['more'] else ''}"
    strong = f"{number} {'job' if ahead == 1 else 'jobs'} of its type {'is' if ahead == 1 else 'are'} ahead."
    return Reason(True, strong, _full(reason))


def _full(reason: why_waiting.Reason) -> str:
    capacity, busy = reason.facts["threads"], reason.facts["busy"]
    return (
        f"The workers that perform its type are busy: they run {capacity} jobs at a time."
        if 0 < capacity <= busy
        else ""
    )
