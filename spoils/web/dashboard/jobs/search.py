"""The search box: an id or its end, a job type, a field of the payload with a value, or words of an error."""

import re
from dataclasses import dataclass, replace
from uuid import UUID

from flask import url_for
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from spoils.job.registry import registry
from spoils.job.spellings import spellings
from spoils.reports import batches, find_by_payload, job_list
from spoils.web.dashboard.jobs.list import JOBS
from spoils.web.dashboard.shared.filters import read_text, refuse_secrets
from spoils.web.dashboard.shared.job_row import JobRow, job_rows
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.status_bar import StatusBar

_FIELD = re.compile(r"(?P<field>[A-Za-z_][A-Za-z0-9_]{0,62}):(?P<value>.+)")
_SHORT_ID = re.compile(r"[0-9a-f]{8}")


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
class Results:
    """What a search found, and which jobs it searched."""

    rows: tuple[JobRow, ...] = ()
    searched: str = ""
    missing: tuple[str, ...] = ()


def read_search(args: MultiDict[str, str]) -> FieldSearch | str:
    """The search in `q`: `field:value`, or other text; empty without a search. Aborts with 400."""
    text = (read_text(args, "q") or "").strip()
    found = _FIELD.fullmatch(text)
    # "ReadTimeout: no answer" is how an error reads, not a field.
    if not found or (found["field"][0].isupper() and found["value"].startswith(" ")):
        return text
    field, value = found["field"], found["value"].strip()
    refuse_secrets({field: value})
    return FieldSearch(field, value)


def address_of(session: Session, text: str, bar: StatusBar) -> str | None:
    """The page that a text names: of a job or batch by its id or the end of it, or the list of a job type."""
    job_class = registry.get(text)
    task_type = job_class.task_type if job_class else text
    if task_type in bar.counts:
        return url_for("dashboard.jobs", type=task_type)
    try:
        task_id = UUID(text)
    except ValueError:
        return _address_of_short_id(session, text.lower())
    if batches.find(session, task_id):
        return url_for("dashboard.batch", batch_id=task_id)
    return url_for("dashboard.job", task_id=task_id)


def _address_of_short_id(session: Session, text: str) -> str | None:
    if not _SHORT_ID.fullmatch(text):
        return None
    if task := find_by_payload.with_short_id(session, text):
        return url_for("dashboard.job", task_id=task.id)
    batch_id = batches.with_short_id(session, text)
    return url_for("dashboard.batch", batch_id=batch_id) if batch_id else None


def search_field(session: Session, search: FieldSearch, bar: StatusBar) -> Results:
    """The jobs whose payload has that field with that value."""
    budget = QueryBudget(session)
    found = budget.read(JOBS, lambda: _with_field(session, search, bar)) or Results()
    return replace(found, missing=(*bar.missing, *budget.missing))


def _with_field(session: Session, search: FieldSearch, bar: StatusBar) -> Results:
    values = spellings(search.field, search.value)
    rows = job_rows(session, find_by_payload.with_field(session, search.field, values), bar.now)
    more = f" The newest {len(rows)} are shown." if len(rows) >= job_list.PAGE else ""
    return Results(rows, f"{find_by_payload.REACH}{more}")
