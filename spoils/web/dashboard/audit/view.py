"""The audit trail, of a job and of all, as pages need it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.models import Audit
from spoils.queue import tasks
from spoils.reports import audit_log
from spoils.reports.pager import Page
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.query_budget import Patience
from spoils.web.dashboard.shared.status_bar import Strip
from spoils.web.masking import masked_text

DID = {
    "retry": "retried it",
    "run_now": "made it due now",
    "cancel": "cancelled it",
    "delete": "deleted it",
    "restore": "restored it",
    "enqueue": "enqueued it",
}
PRESSED = {"run_now": "run now"}
TRAIL = "the audit trail"


@dataclass(frozen=True, slots=True)
class Entry:
    """One verb: when, who and what, the task before and after, and the other job that it has to do with."""

    at: formats.Moment | None
    who: str
    did: str
    change: str
    other: str | None
    bulk: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One verb of all: when, who, which, on what, and what came of it."""

    at: formats.Moment | None
    who: str
    verb: str
    about: str
    task: str | None
    bulk: str | None
    done: bool
    outcome: str
    other: str | None


@dataclass(frozen=True, slots=True)
class Trail:
    """A page of all entries, and the places to go on from."""

    entries: tuple[Line, ...]
    newer: int | None
    older: int | None
    placed: bool
    missing: tuple[str, ...]


def show_trail(session: Session, task_id: UUID, now: datetime | None = None) -> tuple[Entry, ...]:
    """What was done with a job by hand, the last first."""
    seen_at = now or tasks.server_now(session.connection())
    return tuple(_entry(each, seen_at) for each in audit_log.entries_of(session, task_id))


def show_all(session: Session, strip: Strip, older: int | None, newer: int | None) -> Trail:
    """A page of all entries; of a verb on many there is one."""
    patience = Patience(session)
    page = patience.read(
        TRAIL, lambda: audit_log.page_of_entries(session, older_than=older, newer_than=newer)
    ) or Page((), None, None)
    return Trail(
        entries=tuple(_line(each, strip.now) for each in page.rows),
        newer=page.newer[0] if page.newer else None,
        older=page.older[0] if page.older else None,
        placed=bool(older or newer),
        missing=(*strip.missing, *patience.missing),
    )


def _line(entry: Audit, now: datetime) -> Line:
    return Line(
        at=formats.moment(entry.at, now),
        who=formats.one_line(entry.who),
        verb=PRESSED.get(entry.verb, entry.verb),
        about=formats.shortened(formats.one_line(entry.about or ""), 120),
        task=str(entry.task_id) if entry.task_id else None,
        bulk=str(entry.bulk_id) if entry.bulk_id else None,
        done=entry.done,
        outcome=_outcome(entry),
        other=str(entry.twin) if entry.twin else None,
    )


def _outcome(entry: Audit) -> str:
    if not entry.done:
        return f"Refused: {formats.one_line(masked_text(entry.note or 'there was nothing to do.'))}"
    return _change(entry.before, entry.after)


def _entry(entry: Audit, now: datetime) -> Entry:
    return Entry(
        at=formats.moment(entry.at, now),
        who=formats.one_line(entry.who),
        did=_did(entry),
        change=_change(entry.before, entry.after) if entry.done else "",
        other=str(entry.twin) if entry.twin else None,
        bulk=str(entry.bulk_id) if entry.bulk_id else None,
    )


def _did(entry: Audit) -> str:
    if not entry.done:
        note = formats.one_line(masked_text(entry.note or ""))
        return f"pressed {PRESSED.get(entry.verb, entry.verb)}. Refused: {note}"
    if entry.verb == "cancel" and entry.after and entry.after.get("state") == "in_progress":
        return "asked it to stop."
    again = " again" if entry.verb == "enqueue" and entry.twin else ""
    return f"{DID.get(entry.verb, entry.verb)}{again}."


def _change(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    was, became = _state(before), _state(after)
    return f"{was} → {became}" if was != became else ""


def _state(facts: Mapping[str, Any] | None) -> str:
    return str(facts.get("state", "none")).replace("_", " ") if facts else "none"
