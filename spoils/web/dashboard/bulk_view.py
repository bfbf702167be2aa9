"""Verbs on many jobs, as pages need them: what is offered, the preview, and the progress."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from spoils.models import Audit, Bulk, Task, TaskState
from spoils.queue.selection import OWN_TYPE
from spoils.reports import bulk_actions
from spoils.web.dashboard import formats
from spoils.web.dashboard.filters import Filters
from spoils.web.dashboard.strip import Strip
from spoils.web.masking import masked_text

REFUSALS = 100


@dataclass(frozen=True, slots=True)
class BulkVerb:
    """A verb by the words that its buttons and sentences need."""

    name: str
    word: str
    done: str
    doing: str
    meaning: str
    grave: bool = False


VERBS: Mapping[str, BulkVerb] = {
    each.name: each
    for each in (
        BulkVerb(
            "retry",
            "Retry",
            "Retried",
            "Retrying",
            "They become new and due now, with their retries at 0. Their failures stay on record. "
            "Of several that are the same unique job, the one that failed last is retried.",
        ),
        BulkVerb(
            "run_now",
            "Run now",
            "Made due now:",
            "Making due now:",
            "They become due now, all at once. Nothing else of them changes.",
        ),
        BulkVerb(
            "cancel",
            "Cancel",
            "Cancelled",
            "Cancelling",
            "What waits becomes failed; it can be retried. What runs is asked to stop.",
            grave=True,
        ),
        BulkVerb(
            "delete",
            "Delete",
            "Deleted",
            "Deleting",
            "They are kept for a day, in which this can be undone. What they have made, such as products, stays. "
            "Nothing that is in progress is touched.",
            grave=True,
        ),
        BulkVerb("restore", "Restore", "Restored", "Restoring", ""),
    )
}
OFFERED: Mapping[TaskState | None, tuple[str, ...]] = {
    None: ("retry", "run_now", "cancel", "delete"),
    TaskState.NEW: ("run_now", "cancel", "delete"),
    TaskState.RETRIED: ("run_now", "cancel", "delete"),
    TaskState.IN_PROGRESS: ("cancel",),
    TaskState.FAILED: ("retry", "delete"),
    TaskState.FINISHED: ("delete",),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """The verbs that a list offers: on what is selected, and on all that match, of which there are `count`."""

    selected: tuple[BulkVerb, ...]
    whole: tuple[BulkVerb, ...]
    count: str
    filter: Mapping[str, str]
    hint: str = ""
    """What to do first, where nothing is offered on all that match."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A task that was passed over, and why."""

    task_id: str
    short_id: str
    reason: str
    twin: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it has come."""

    id: str
    title: str
    ended: bool
    state: str
    figures: tuple[tuple[str, str], ...]
    percent: float
    who: str
    begun: formats.Moment | None
    took: str
    refusals: tuple[Refusal, ...]
    more_refusals: int | None
    restorable: bool
    task: str | None
    filtered: str


def offer(filters: Filters, count: int, failed: int = 0) -> Offer:
    """What a list by `filters` offers, of which `count` match; where it is of all states, `failed` of them failed."""
    verbs = tuple(VERBS[name] for name in OFFERED[TaskState.NEW if filters.waiting else filters.state])
    kept = {"state": filters.state.value if filters.state else "", "type": filters.task_type or ""}
    failed = 0 if filters.waiting else failed
    if filters.state is None and failed:
        # Of all verbs only this one means the same whatever else matches.
        kept["state"], count = TaskState.FAILED.value, failed
    whole = verbs if filters.state else (VERBS["retry"],)
    return Offer(
        selected=verbs,
        whole=whole if count and kept["state"] else (),
        count=f"{formats.number(count)}{'' if filters.state else ' failed'}",
        filter={name: value for name, value in kept.items() if value},
        hint=""
        if filters.state or not count
        else f"For {'another' if failed else 'a'} verb on all, choose a state.",
    )


def progress(session: Session, row: Bulk, task: Task | None, strip: Strip, after: int) -> Progress:
    """The page of a verb that was begun."""
    verb = VERBS[row.verb]
    refused = bulk_actions.refusals(session, row.id, after=after, limit=REFUSALS + 1)
    total = row.expected if row.total is None else row.total
    past = row.done + row.refused
    figures = (
        (verb.done.rstrip(":").lower(), formats.number(row.done)),
        ("refused", formats.number(row.refused)),
        ("left", formats.number(max(0, total - past))),
    )
    return Progress(
        id=str(row.id),
        title=_title(verb, row, total),
        ended=row.ended_at is not None,
        state=_state(row, task, strip),
        figures=figures,
        percent=100 * past / total if total else 100,
        who=formats.one_line(row.who),
        begun=formats.moment(row.created_at, strip.now),
        took=formats.run_time((row.ended_at - row.created_at).total_seconds() * 1_000)
        if row.ended_at
        else "",
        refusals=tuple(_refusal(each) for each in refused[:REFUSALS]),
        more_refusals=refused[REFUSALS - 1].id if len(refused) > REFUSALS else None,
        restorable=row.verb == "delete"
        and row.ended_at is not None
        and bulk_actions.restorable(session.connection(), row.id),
        task=str(row.task_id) if row.task_id and task else None,
        filtered=row.selection.get("state") or "",
    )


def result(row: Bulk) -> str:
    """One sentence on what was done."""
    verb = VERBS[row.verb]
    if row.total == 0:
        return "Nothing was there to do."
    done = f"{verb.done} {formats.plural(row.done, 'job')}" if row.done else f"Nothing was {_past(verb)}"
    refused = f", {formats.number(row.refused)} refused" if row.refused else ""
    return f"{done}{refused}."


def _past(verb: BulkVerb) -> str:
    return verb.done.rstrip(":").lower()


def _title(verb: BulkVerb, row: Bulk, total: int) -> str:
    if row.ended_at is not None:
        return result(row).rstrip(".")
    return f"{verb.doing} {formats.plural(total, 'job')}"


def _state(row: Bulk, task: Task | None, strip: Strip) -> str:
    if row.ended_at is not None:
        return ""
    if task is None:
        return "It has stopped: the job that carries it out is gone. What was done stays done."
    if task.state is TaskState.FAILED:
        return "It has stopped: the job that carries it out has failed. Retry that job, and it goes on."
    if task.state is not TaskState.IN_PROGRESS and OWN_TYPE not in strip.taken:
        return f"It waits: no live worker takes {OWN_TYPE}."
    if row.total is None:
        return "It begins in a moment."
    return "It goes on by itself; you may leave this page."


def _refusal(entry: Audit) -> Refusal:
    return Refusal(
        task_id=str(entry.task_id),
        short_id=str(entry.task_id)[-8:],
        reason=formats.one_line(masked_text(entry.note or "")),
        twin=str(entry.twin) if entry.twin else None,
    )
