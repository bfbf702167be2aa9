"""The search box: a field of the payload with a value, or words of an error; what is asked, and the results."""

import re
from dataclasses import dataclass, replace
from uuid import UUID

from flask import abort
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from spoils.job.spellings import spellings
from spoils.masking import masked
from spoils.models import TaskState
from spoils.reports import find_by_payload, job_list
from spoils.web.dashboard.jobs.list import JOBS, cursor, read_page
from spoils.web.dashboard.shared.filters import Filters, read_text
from spoils.web.dashboard.shared.job_row import JobRow, job_rows
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.status_bar import StatusBar

MOST_WORDS = 8
_FIELD = re.compile(r"(?P<field>[A-Za-z_][A-Za-z0-9_]{0,62}):(?P<value>.+)")


@dataclass(frozen=True, slots=True)
class FieldSearch:
    """A search for a field of the payload with a value."""

    field: str
    value: str

    @property
    def title(self) -> str:
        """The heading of the results."""
        return f"Jobs with {self.field} {self.value}"

    @property
    def text(self) -> str:
        """The text of the search box."""
        return f"{self.field}:{self.value}"


@dataclass(frozen=True, slots=True)
class ErrorSearch:
    """A search for jobs whose error has all of these words."""

    words: tuple[str, ...]

    @property
    def title(self) -> str:
        """The heading of the results."""
        return f"Jobs whose error has {' and '.join(f'“{word}”' for word in self.words)}"

    @property
    def text(self) -> str:
        """The text of the search box."""
        return " ".join(self.words)


@dataclass(frozen=True, slots=True)
class Results:
    """What a search found, and which jobs it searched."""

    rows: tuple[JobRow, ...] = ()
    searched: str = ""
    newer: str | None = None
    older: str | None = None
    state: TaskState | None = None
    missing: tuple[str, ...] = ()


def read_search(args: MultiDict[str, str]) -> UUID | FieldSearch | ErrorSearch | None:
    """The search in `q`: an id, `field:value`, or words of an error. Aborts with 400."""
    text = (read_text(args, "q") or "").strip()
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        pass
    found = _FIELD.fullmatch(text)
    # "ReadTimeout: no answer" is how an error reads, not a field.
    if not found or (found["field"][0].isupper() and found["value"].startswith(" ")):
        return _read_words(text)
    field, value = found["field"], found["value"].strip()
    _refuse_secrets({field: value})
    return FieldSearch(field, value)


def _refuse_secrets(asked: dict[str, str] | str) -> None:
    """Abort with 400: a search that finds masked text would reveal it letter by letter."""
    if masked(asked) != asked:
        abort(400, "Secrets are masked on every page and cannot be searched.")


def _read_words(text: str) -> ErrorSearch:
    _refuse_secrets(text)
    words = tuple(dict.fromkeys(text.split()))
    if len(words) > MOST_WORDS:
        abort(400, f"A search takes at most {MOST_WORDS} words.")
    return ErrorSearch(words)


def search_jobs(
    session: Session, search: FieldSearch | ErrorSearch, filters: Filters, bar: StatusBar
) -> Results:
    """The results of `search`."""
    budget = QueryBudget(session)
    found = budget.read(
        JOBS,
        lambda: (
            _by_words(session, search, filters, bar)
            if isinstance(search, ErrorSearch)
            else _by_field(session, search, bar)
        ),
    )
    return replace(found or Results(), missing=(*bar.missing, *budget.missing))


def _by_field(session: Session, search: FieldSearch, bar: StatusBar) -> Results:
    values = spellings(search.field, search.value)
    rows = job_rows(session, find_by_payload.with_field(session, search.field, values), bar.now)
    more = f" The newest {len(rows)} are shown." if len(rows) >= job_list.PAGE else ""
    return Results(rows, f"{find_by_payload.REACH}{more}")


def _by_words(session: Session, search: ErrorSearch, filters: Filters, bar: StatusBar) -> Results:
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
