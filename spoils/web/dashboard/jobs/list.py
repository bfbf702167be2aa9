"""The list of jobs: tabs, filters and pages. Its rows are made in `shared/job_row.py`."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from spoils.models import TaskState
from spoils.queue.selection import OWN_TYPE
from spoils.reports import job_list
from spoils.reports.batches import members_by_state
from spoils.web import paging
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.batch_link import BatchLink, batch_link
from spoils.web.dashboard.shared.bulk_actions import OfferOnAll, offer_on_all
from spoils.web.dashboard.shared.filters import CHANGED, Filters
from spoils.web.dashboard.shared.job_row import JobRow, job_rows
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.states import ORDER
from spoils.web.dashboard.shared.status_bar import StatusBar

CUT_OFF = (
    f"Searched the last {job_list.FAR:,} jobs of each state. The button below continues with older ones."
)
CUT_OFF_BY_DUE = (
    f"Searched the first {job_list.FAR_OF_LEVEL:,} waiting jobs of each type and priority. "
    "The button below continues with those that are due later."
)
JOBS, MEMBERS = "the list of jobs", "the numbers of members"
EMPTY = job_list.Page((), None, None)
HEADS = {TaskState.FAILED: "Failed", TaskState.FINISHED: "Finished", TaskState.IN_PROGRESS: "Started"}


@dataclass(frozen=True, slots=True)
class Tab:
    """A state, or several, with the number of jobs of the chosen type in it."""

    state: str | None
    glyph: str
    word: str
    count: str
    current: bool


@dataclass(frozen=True, slots=True)
class JobList:
    """One page of a list."""

    rows: tuple[JobRow, ...]
    tabs: tuple[Tab, ...]
    types: tuple[str, ...]
    moment_head: str
    """What the moment of a row is: when the job changed, or is due."""
    newer: str | None
    older: str | None
    on_all: OfferOnAll
    batch: BatchLink | None
    cut_off: str
    """How far the list was searched, if not to its end."""
    searched: str
    """Which errors were searched for the words."""
    missing: tuple[str, ...]


def list_jobs(session: Session, filters: Filters, bar: StatusBar) -> JobList:
    """The page that `filters` name."""
    budget = QueryBudget(session)
    batch = filters.batch
    if batch is None:
        by_state = _by_state(filters, bar)
        # Actions on many jobs leave out the jobs that carry out such actions.
        selectable = _by_state(filters, bar, without=OWN_TYPE)
        uncounted = bar.uncounted
    else:
        members = budget.read(MEMBERS, lambda: members_by_state(session, batch, filters.task_type))
        selectable = by_state = members or dict.fromkeys(ORDER, 0)
        uncounted = members is None
    page = EMPTY
    # The exact counts tell an empty list from one that a large table must be searched for.
    if uncounted or any(by_state[state] for state in filters.states):
        page = budget.read(JOBS, lambda: _read_page(session, filters, bar)) or EMPTY
    rows = budget.read(JOBS, lambda: job_rows(session, page.tasks, bar.now, by_due=filters.by_due)) or ()
    matching = sum(selectable[state] for state in filters.states)
    return JobList(
        rows=rows,
        tabs=_tabs(filters, by_state, uncounted=uncounted),
        types=tuple(sorted({*bar.counts, *([filters.task_type] if filters.task_type else [])})),
        moment_head="Due"
        if filters.by_due
        else HEADS.get(filters.state, "Changed")
        if filters.state
        else "Changed",
        newer=_cursor(page.newer),
        older=_cursor(page.older),
        batch=batch_link(session, batch) if batch else None,
        on_all=offer_on_all(filters, matching, selectable[TaskState.FAILED]),
        cut_off=(CUT_OFF_BY_DUE if filters.by_due else CUT_OFF) if page.cut_off and not filters.words else "",
        searched=_searched(filters, page),
        missing=(*bar.missing, *budget.missing),
    )


def _read_page(session: Session, filters: Filters, bar: StatusBar) -> job_list.Page:
    if filters.by_due:
        names = [filters.task_type] if filters.task_type is not None else bar.listed
        return job_list.page_of_new(
            session, names, older_than=filters.older_than, newer_than=filters.newer_than
        )
    # Of the queue's own types only those that have jobs: without any, the list needs no filter.
    left_out = () if filters.task_type else tuple(bar.counts.keys() - set(bar.listed))
    return job_list.page_of_tasks(
        session,
        states=filters.states,
        task_type=filters.task_type,
        batch=filters.batch,
        words=filters.words,
        without=left_out,
        since=bar.now - CHANGED[filters.changed] if filters.changed else None,
        older_than=filters.older_than,
        newer_than=filters.newer_than,
    )


def _searched(filters: Filters, page: job_list.Page) -> str:
    if not filters.words:
        return ""
    kind = filters.word or "failed and retried"
    if not page.cut_off:
        return (
            f"Searched the last error of all {kind} jobs{' in this time range' if filters.changed else ''}."
        )
    return f"Searched the last error of {job_list.FAR:,} {kind} jobs. The button below continues with older ones."


def _cursor(key: job_list.Key | None) -> str | None:
    """A place in the list as a URL has it."""
    return paging.encode(*key) if key else None


def _tabs(filters: Filters, by_state: Mapping[TaskState, int], *, uncounted: bool) -> tuple[Tab, ...]:
    """All states together, each state, and the waiting ones together if the URL asks for them."""
    chosen: list[Filters] = [Filters(), *(Filters(state) for state in ORDER)]
    if filters.waiting:
        chosen.insert(1, Filters(waiting=True))
    return tuple(
        Tab(
            each.state_arg,
            each.state.value if each.state else "waits",
            each.word or "All",
            ""
            if filters.narrowed
            else "–"
            if uncounted
            else formats.number(sum(by_state[state] for state in each.states)),
            each.state_arg == filters.state_arg,
        )
        for each in chosen
    )


def _by_state(filters: Filters, bar: StatusBar, *, without: str | None = None) -> dict[TaskState, int]:
    of = [filters.task_type] if filters.task_type else bar.listed
    names = [name for name in of if name != without]
    return {state: bar.count(names, state) for state in ORDER}
