"""The list of jobs, as its page needs it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.barcode import is_barcode, normalise
from spoils.models import Task, TaskState
from spoils.queue import listing
from spoils.web.dashboard import cursor, formats, lookback
from spoils.web.dashboard.bulk_view import Offer, offer
from spoils.web.dashboard.filters import Filters, Search, Words
from spoils.web.dashboard.patience import Patience
from spoils.web.dashboard.states import ORDER, VIEWS, StateView
from spoils.web.dashboard.strip import Strip
from spoils.web.dashboard.task_row import TaskRow, task_row

CUT_OFF = f"Looked at {listing.FAR:,} jobs of a state; there are others beyond. Go on by the button."
JOBS = "the list of jobs"
NOTHING = listing.Page((), None, None)
CHANGED = {TaskState.FAILED: "Failed", TaskState.FINISHED: "Finished", TaskState.IN_PROGRESS: "Started"}


@dataclass(frozen=True, slots=True)
class Tab:
    """A state to choose, or all of them, with how many tasks the type filter leaves in it."""

    state: StateView | None
    count: str
    current: bool


@dataclass(frozen=True, slots=True)
class JobList:
    """One page of a list."""

    rows: tuple[TaskRow, ...]
    tabs: tuple[Tab, ...]
    types: tuple[str, ...]
    changed_head: str
    newer: str | None
    older: str | None
    offer: Offer
    cut_off: str
    """How far the search for a type went, where it did not go through."""
    middle: bool
    """Whether the URL names a place, so that this may not be the top."""
    missing: tuple[str, ...]
    """What took the database too long."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, and how far it looked."""

    title: str
    rows: tuple[TaskRow, ...]
    reach: str
    newer: str | None = None
    older: str | None = None
    state: TaskState | None = None
    missing: tuple[str, ...] = ()


def list_jobs(session: Session, filters: Filters, strip: Strip) -> JobList:
    """The page that `filters` name."""
    by_state = _by_state(filters, strip)
    patience = Patience(session)
    if strip.uncounted or by_state.get(filters.state, 0) > 0:
        page = patience.read(JOBS, lambda: _page(session, filters)) or NOTHING
    else:
        page = NOTHING  # the exact counts say so: nothing to search a large table for
    return JobList(
        rows=_rows(page.tasks, strip),
        tabs=tuple(
            Tab(
                VIEWS[state] if state else None,
                "–" if strip.uncounted else formats.number(by_state[state]),
                filters.state == state,
            )
            for state in (None, *ORDER)
        ),
        types=tuple(sorted({*strip.counts, *([filters.task_type] if filters.task_type else [])})),
        changed_head=CHANGED.get(filters.state, "Changed") if filters.state else "Changed",
        newer=_cursor(page.newer),
        older=_cursor(page.older),
        offer=offer(filters, by_state[filters.state], by_state[TaskState.FAILED]),
        cut_off=CUT_OFF if page.cut_off else "",
        middle=filters.placed,
        missing=(*strip.missing, *patience.missing),
    )


def find_jobs(session: Session, search: Search | Words, filters: Filters, strip: Strip) -> Found:
    """The jobs that a search finds."""
    patience = Patience(session)
    found = patience.read(
        JOBS,
        lambda: (
            _by_words(session, search, filters, strip)
            if isinstance(search, Words)
            else _by_field(session, search, strip)
        ),
    )
    missing = (*strip.missing, *patience.missing)
    return replace(found or Found(search.title, (), ""), missing=missing)


def _by_field(session: Session, search: Search, strip: Strip) -> Found:
    """A barcode is found however its zeros were written."""
    values = {search.value}
    if search.field == "barcode" and is_barcode(search.value):
        values.add(normalise(search.value))
    rows = _rows(lookback.with_field(session, search.field, values), strip)
    more = f" The last {len(rows)} are shown." if len(rows) >= listing.PAGE else ""
    return Found(search.title, rows, f"{lookback.REACH}{more}")


def _by_words(session: Session, search: Words, filters: Filters, strip: Strip) -> Found:
    of_failed = replace(filters, state=filters.state or TaskState.FAILED)
    page = _page(session, of_failed, search.words)
    word = VIEWS[of_failed.state or TaskState.FAILED].word
    reach = f"Looked at the last error of {listing.FAR:,} {word} jobs; there are others beyond. Go on by the button."
    return Found(
        search.title,
        _rows(page.tasks, strip),
        reach if page.cut_off else f"Looked at the last error of all {word} jobs.",
        newer=_cursor(page.newer),
        older=_cursor(page.older),
        state=of_failed.state,
    )


def _page(session: Session, filters: Filters, words: tuple[str, ...] = ()) -> listing.Page:
    return listing.page_of_tasks(
        session,
        state=filters.state,
        task_type=filters.task_type,
        words=words,
        older_than=filters.older_than,
        newer_than=filters.newer_than,
    )


def _rows(tasks: Sequence[Task], strip: Strip) -> tuple[TaskRow, ...]:
    return tuple(task_row(task, strip.now) for task in tasks)


def _by_state(filters: Filters, strip: Strip) -> dict[TaskState | None, int]:
    chosen = [of for name, of in strip.counts.items() if filters.task_type in (None, name)]
    by_state: dict[TaskState | None, int] = {state: sum(of[state] for of in chosen) for state in ORDER}
    by_state[None] = sum(by_state.values())
    return by_state


def _cursor(key: tuple[datetime, UUID] | None) -> str | None:
    return cursor.encode(*key) if key else None
