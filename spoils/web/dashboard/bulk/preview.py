"""The preview of an action on many jobs: how many of what it would change, before it does."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from spoils.masking import masked_text
from spoils.models import Task, TaskState
from spoils.queue import bulk
from spoils.queue.selection import Selection, count_by_type
from spoils.reports import failure_groups
from spoils.reports.brief_tasks import some_of_selection
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.bulk_actions import BulkAction
from spoils.web.dashboard.shared.job_row import JobRow, error_view, job_rows
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.status_bar import StatusBar

EXAMPLES = 5
LINES = 8
NUMBER, EXAMPLE, ERRORS = "the exact number", "examples", "the errors"
Lines = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What an action would change: how many jobs of what, with a few of them."""

    action: BulkAction
    count: int
    title: str
    button: str
    by_type: Lines
    by_error: Lines
    errors_of: str
    """Which jobs the errors were counted of, if not of all."""
    examples: tuple[JobRow, ...]
    fixed: str
    fields: Lines
    missing: tuple[str, ...]
    counted: bool
    """Whether the number is known: without it nothing is offered."""


def preview(session: Session, action: BulkAction, selection: Selection, bar: StatusBar) -> Preview:
    """The page before `action` is carried out on `selection`."""
    budget = QueryBudget(session)
    some = max(EXAMPLES, len(selection.ids))
    rows = budget.read(EXAMPLE, lambda: some_of_selection(session, selection, some)) or []
    by_type = budget.read(NUMBER, lambda: _by_type(session, selection, rows))
    number = len(selection.ids) if selection.ids else sum((by_type or {}).values())
    errors = budget.read(ERRORS, lambda: _by_error(session, selection, rows, bar.now))
    by_error, errors_of = errors or ({}, "")
    state = f"{selection.state.value.replace('_', ' ')} " if selection.state else "active " * selection.active
    title = (
        f"{action.word} {formats.plural(number, f'{state}job')}?"
        if number
        else f"Nothing to {action.word.lower()}."
    )
    return Preview(
        action=action,
        count=number,
        title=title if by_type is not None else f"{action.word} how many?",
        button=f"{action.word} {formats.plural(number, 'job')}",
        by_type=_lines(by_type or {}, "other type"),
        by_error=_lines(by_error, "other error"),
        errors_of=errors_of,
        examples=job_rows(session, rows[:EXAMPLES], bar.now),
        fixed=_fixed(selection, number, bar.now),
        fields=selection_fields(selection, bar.now),
        missing=(*bar.missing, *budget.missing),
        counted=by_type is not None,
    )


def _by_type(session: Session, selection: Selection, rows: list[Task]) -> dict[str, int]:
    if selection.ids:
        return Counter(row.task_type for row in rows)
    return count_by_type(session.connection(), selection)


def _by_error(
    session: Session, selection: Selection, rows: list[Task], now: datetime
) -> tuple[dict[str, int], str]:
    """How many jobs failed with which error, and which jobs were counted, if not all."""
    if selection.ids:
        errors = [error_view(row.error_message) for row in rows if row.state is TaskState.FAILED]
        return Counter(each.name or each.message for each in errors if each), ""
    if selection.state is not TaskState.FAILED or selection.group or selection.batch:
        return {}, ""
    found = failure_groups.scan(session, now=now, since=None, task_type=selection.task_type)
    attempts = failure_groups.attempts_by_id(session, [each.attempt for each in found.groups if each.attempt])
    numbers: Counter[str] = Counter()
    for group in found.groups:
        attempt = attempts.get(group.attempt or 0)
        numbers[(attempt.error_class if attempt else "") or "no error class"] += group.count
    return numbers, "" if found.whole else f"of the last {formats.number(failure_groups.FAR)} that failed"


def _lines(numbers: dict[str, int], others: str) -> Lines:
    most = sorted(((name, number) for name, number in numbers.items() if number), key=lambda item: -item[1])
    shown = [
        (formats.shortened(formats.one_line(masked_text(name)), 80) or "no type", formats.number(number))
        for name, number in most[:LINES]
    ]
    if rest := sum(number for _, number in most[LINES:]):
        shown.append((formats.plural(len(most) - LINES, others), formats.number(rest)))
    return tuple(shown)


def _fixed(selection: Selection, number: int, now: datetime) -> str:
    background = f"Runs in the background, {bulk.CHUNK:,} jobs at a time; you can leave the page."
    if number <= bulk.AT_ONCE:
        background = ""
    if selection.ids:
        return background
    return f"The list is fixed: jobs that change after {now:%H:%M:%S} UTC are not part of it. {background}".strip()


def selection_fields(selection: Selection, now: datetime) -> Lines:
    """The hidden fields of a form that name the selection."""
    if selection.ids:
        return tuple(("id", str(one)) for one in selection.ids)
    found = {
        "all": "1",
        "state": selection.state.value if selection.state else "",
        "type": selection.task_type or "",
        "group": selection.group or "",
        "batch": str(selection.batch or ""),
        "active": "1" * selection.active,
        "until": (selection.until or now).isoformat(),
    }
    return tuple((name, value) for name, value in found.items() if value)
