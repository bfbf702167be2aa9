"""The audit log: the page of all entries, and the section on the page of a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.masking import masked_text
from spoils.models import Audit
from spoils.queue import tasks
from spoils.reports import audit_log
from spoils.reports.pager import Page
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.status_bar import StatusBar

DONE_TO_A_JOB = {
    "retry": "retried it",
    "run_now": "made it due now",
    "cancel": "cancelled it",
    "delete": "deleted it",
    "restore": "restored it",
    "enqueue": "enqueued it",
    "edit": "edited it",
    "mend": "mended it",
    "revert": "undid its edit",
}
NAMES = {"run_now": "run now"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One action; `done_to_it` says it on the page of the job, the other texts in the list of all entries."""

    at: formats.Moment
    who: str
    action: str
    done_to_it: str
    about: str
    task: str | None
    bulk: str | None
    done: bool
    outcome: str
    other: str | None
    """Another job that it concerns: the duplicate, or the job that was enqueued again."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page of all entries, and the ids to page on from."""

    entries: tuple[Entry, ...]
    newer: int | None
    older: int | None
    placed: bool
    missing: tuple[str, ...]


def log_of_job(session: Session, task_id: UUID, now: datetime | None = None) -> tuple[Entry, ...]:
    """The entries of one job, the newest first."""
    seen_at = now or tasks.server_now(session.connection())
    return tuple(_entry(each, seen_at) for each in audit_log.entries_of(session, task_id))


def show_audit_log(session: Session, bar: StatusBar, older: int | None, newer: int | None) -> AuditPage:
    """A page of all entries; an action on many jobs is one entry."""
    budget = QueryBudget(session)
    page = budget.read(
        "the audit log", lambda: audit_log.page_of_entries(session, older_than=older, newer_than=newer)
    ) or Page((), None, None)
    return AuditPage(
        entries=tuple(_entry(each, bar.now) for each in page.rows),
        newer=page.newer[0] if page.newer else None,
        older=page.older[0] if page.older else None,
        placed=bool(older or newer),
        missing=(*bar.missing, *budget.missing),
    )


def _entry(entry: Audit, now: datetime) -> Entry:
    note = formats.one_line(masked_text(entry.note or "there was nothing to do."))
    return Entry(
        at=formats.moment(entry.at, now),
        who=formats.one_line(entry.who),
        action=NAMES.get(entry.verb, entry.verb),
        done_to_it=_done_to_it(entry, note),
        about=formats.shortened(formats.one_line(entry.about or ""), 120),
        task=str(entry.task_id) if entry.task_id else None,
        bulk=str(entry.bulk_id) if entry.bulk_id else None,
        done=entry.done,
        outcome=_change(entry.before, entry.after) if entry.done else f"Refused: {note}",
        other=str(entry.twin) if entry.twin else None,
    )


def _done_to_it(entry: Audit, note: str) -> str:
    if not entry.done:
        return f"tried to {NAMES.get(entry.verb, entry.verb)}. Refused: {note}"
    if entry.verb == "cancel" and entry.after and entry.after.get("state") == "in_progress":
        return "asked it to stop."
    again = " again" if entry.verb == "enqueue" and entry.twin else ""
    return f"{DONE_TO_A_JOB.get(entry.verb, entry.verb)}{again}."


def _change(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    was, became = _state(before), _state(after)
    changed = ""
    if before and after and before.get("payload") != after.get("payload"):
        changed = "payload changed"
    return ", ".join(filter(None, (changed, f"{was} → {became}" if was != became else "")))


def _state(facts: Mapping[str, Any] | None) -> str:
    if facts and "cron" in facts:  # of a schedule
        return formats.one_line(f"{facts['cron']} {facts.get('timezone')}")
    return str(facts.get("state", "none")).replace("_", " ") if facts else "none"
