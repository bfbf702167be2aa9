"""The results of a search: by a field of the payload, or by words of an error."""

from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from spoils.job.spellings import spellings
from spoils.models import TaskState
from spoils.reports import find_by_payload, job_list
from spoils.web.dashboard.jobs.list import JOBS, cursor, read_page
from spoils.web.dashboard.shared.filters import Filters, Search, Words
from spoils.web.dashboard.shared.job_row import JobRow, job_rows
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.status_bar import StatusBar


@dataclass(frozen=True, slots=True)
class Results:
    """What a search found, and which jobs it searched."""

    rows: tuple[JobRow, ...] = ()
    searched: str = ""
    newer: str | None = None
    older: str | None = None
    state: TaskState | None = None
    missing: tuple[str, ...] = ()


def search_jobs(session: Session, search: Search | Words, filters: Filters, bar: StatusBar) -> Results:
    """The results of `search`."""
    budget = QueryBudget(session)
    found = budget.read(
        JOBS,
        lambda: (
            _by_words(session, search, filters, bar)
            if isinstance(search, Words)
            else _by_field(session, search, bar)
        ),
    )
    return replace(found or Results(), missing=(*bar.missing, *budget.missing))


def _by_field(session: Session, search: Search, bar: StatusBar) -> Results:
    values = spellings(search.field, search.value)
    rows = job_rows(session, find_by_payload.with_field(session, search.field, values), bar.now)
    more = f" The newest {len(rows)} are shown." if len(rows) >= job_list.PAGE else ""
    return Results(rows, f"{find_by_payload.REACH}{more}")


def _by_words(session: Session, search: Words, filters: Filters, bar: StatusBar) -> Results:
    chosen = filters if filters.state_arg else replace(filters, state=TaskState.FAILED)
    page = read_page(session, chosen, search.words)
    searched = f"Searched the last error of all {chosen.word} jobs."
    if page.cut_off:
        searched = (
            f"Searched the last error of {job_list.FAR:,} {chosen.word} jobs. "
            "The button below continues with older ones."
        )
    return Results(
        job_rows(session, page.tasks, bar.now),
        searched,
        newer=cursor(page.newer),
        older=cursor(page.older),
        state=chosen.state,
    )
