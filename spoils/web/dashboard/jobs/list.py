"""The list of jobs, as its page needs it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.job.spellings import spellings
from spoils.models import TaskState
from spoils.queue.selection import OWN_TYPE
from spoils.reports import find_by_payload, job_list
from spoils.web import paging
from spoils.web.dashboard.bulk.progress import Offer, offer
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.filters import Filters, Search, Words
from spoils.web.dashboard.shared.job_row import TaskRow, task_rows
from spoils.web.dashboard.shared.query_budget import Patience
from spoils.web.dashboard.shared.states import ORDER
from spoils.web.dashboard.shared.status_bar import Strip

CUT_OFF = f"Looked at {job_list.FAR:,} jobs of a state; there are others beyond. Go on by the button."
JOBS = "the list of jobs"
NOTHING = job_list.Page((), None, None)
CHANGED = {TaskState.FAILED: "Failed", TaskState.FINISHED: "Finished", TaskState.IN_PROGRESS: "Started"}


@dataclass(frozen=True, slots=True)
class Tab:
    """A state to choose, or several of them, with how many tasks the type filter leaves there."""

    state: str | None
    glyph: str
    word: str
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
    # A verb on many leaves out the jobs that carry out such verbs.
    others = _by_state(filters, strip, but=OWN_TYPE)
    patience = Patience(session)
    if strip.uncounted or any(by_state[state] for state in filters.states):
        page = patience.read(JOBS, lambda: _page(session, filters)) or NOTHING
    else:
        page = NOTHING  # the exact counts say so: nothing to search a large table for
    rows = patience.read(JOBS, lambda: task_rows(session, page.tasks, strip.now)) or ()
    return JobList(
        rows=rows,
        tabs=_tabs(filters, by_state, uncounted=strip.uncounted),
        types=tuple(sorted({*strip.counts, *([filters.task_type] if filters.task_type else [])})),
        changed_head=CHANGED.get(filters.state, "Changed") if filters.state else "Changed",
        newer=_cursor(page.newer),
        older=_cursor(page.older),
        offer=offer(filters, sum(others[state] for state in filters.states), others[TaskState.FAILED]),
        cut_off=CUT_OFF if page.cut_off else "",
        middle=filters.placed,
        missing=(*strip.missing, *patience.missing),
    )


def _tabs(filters: Filters, by_state: Mapping[TaskState, int], *, uncounted: bool) -> tuple[Tab, ...]:
    """All of them, each state, and what waits where that was asked for."""
    chosen: list[Filters] = [Filters(), *(Filters(state) for state in ORDER)]
    if filters.waiting:
        chosen.insert(1, Filters(waiting=True))
    return tuple(
        Tab(
            each.state_arg,
            each.state.value if each.state else "waits",
            each.word or "All",
            "–" if uncounted else formats.number(sum(by_state[state] for state in each.states)),
            each.state_arg == filters.state_arg,
        )
        for each in chosen
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
    values = spellings(search.field, search.value)
    rows = task_rows(session, find_by_payload.with_field(session, search.field, values), strip.now)
    more = f" The last {len(rows)} are shown." if len(rows) >= job_list.PAGE else ""
    return Found(search.title, rows, f"{find_by_payload.REACH}{more}")


def _by_words(session: Session, search: Words, filters: Filters, strip: Strip) -> Found:
    chosen = filters if filters.state_arg else replace(filters, state=TaskState.FAILED)
    page = _page(session, chosen, search.words)
    word = chosen.word
    looked = f"Looked at the last error of at most {job_list.FAR:,} {word} jobs;"
    reach = f"{looked} there are others beyond. Go on by the button."
    return Found(
        search.title,
        task_rows(session, page.tasks, strip.now),
        reach if page.cut_off else f"Looked at the last error of all {word} jobs.",
        newer=_cursor(page.newer),
        older=_cursor(page.older),
        state=chosen.state,
    )


def _page(session: Session, filters: Filters, words: tuple[str, ...] = ()) -> job_list.Page:
    return job_list.page_of_tasks(
        session,
        states=filters.states,
        task_type=filters.task_type,
        words=words,
        older_than=filters.older_than,
        newer_than=filters.newer_than,
    )


def _by_state(filters: Filters, strip: Strip, *, but: str | None = None) -> dict[TaskState, int]:
    chosen = [of for name, of in strip.counts.items() if filters.task_type in (None, name) and name != but]
    return {state: sum(of[state] for of in chosen) for state in ORDER}


def _cursor(key: tuple[datetime, UUID] | None) -> str | None:
    return paging.encode(*key) if key else None
