"""The list of jobs, as its page needs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.barcode import is_barcode, normalise
from spoils.models import Task, TaskState
from spoils.queue import inspect
from spoils.web.dashboard import cursor, formats, lookback
from spoils.web.dashboard.bulk_view import Offer, offer
from spoils.web.dashboard.filters import Filters, Search
from spoils.web.dashboard.states import ORDER, VIEWS, StateView
from spoils.web.dashboard.strip import Strip
from spoils.web.dashboard.task_row import TaskRow, task_row

CUT_OFF = f"Looked at {inspect.FAR:,} that ended; there are others beyond. Go on by the button."
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


def list_jobs(session: Session, filters: Filters, strip: Strip) -> JobList:
    """The page that `filters` name."""
    by_state = _by_state(filters, strip)
    middle = filters.older_than is not None or filters.newer_than is not None
    if strip.uncounted or by_state.get(filters.state, 0) > 0:
        page = inspect.page_of_tasks(
            session,
            state=filters.state,
            task_type=filters.task_type,
            older_than=filters.older_than,
            newer_than=filters.newer_than,
        )
    else:
        page = inspect.Page((), None, None)  # the exact counts say so: nothing to search a large table for
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
        offer=offer(filters, by_state[filters.state]),
        cut_off=CUT_OFF if page.cut_off else "",
        middle=middle,
    )


def find_jobs(session: Session, search: Search, strip: Strip) -> tuple[TaskRow, ...]:
    """The jobs that a search finds; a barcode is found however its zeros were written."""
    values = {search.value}
    if search.field == "barcode" and is_barcode(search.value):
        values.add(normalise(search.value))
    return _rows(lookback.with_field(session, search.field, values), strip)


def _rows(tasks: Sequence[Task], strip: Strip) -> tuple[TaskRow, ...]:
    return tuple(task_row(task, strip.now) for task in tasks)


def _by_state(filters: Filters, strip: Strip) -> dict[TaskState | None, int]:
    chosen = [of for name, of in strip.counts.items() if filters.task_type in (None, name)]
    by_state: dict[TaskState | None, int] = {state: sum(of[state] for of in chosen) for state in ORDER}
    by_state[None] = sum(by_state.values())
    return by_state


def _cursor(key: tuple[datetime, UUID] | None) -> str | None:
    return cursor.encode(*key) if key else None
