"""What a verb on many would do, as the page that comes before it needs it."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from spoils.models import Task, TaskState
from spoils.queue import bulk
from spoils.queue.selection import Selection, count, count_by_type
from spoils.reports import bulk_actions, failure_groups
from spoils.reports.brief_tasks import brief_tasks
from spoils.web.dashboard import formats
from spoils.web.dashboard.bulk_view import BulkVerb
from spoils.web.dashboard.patience import Patience
from spoils.web.dashboard.strip import Strip
from spoils.web.dashboard.task_row import TaskRow, error_view, task_rows
from spoils.web.masking import masked_text

EXAMPLES = 5
LINES = 8
NUMBER, EXAMPLE, ERRORS = "the exact number", "examples", "the errors"
Lines = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a verb would do: to how many of what, with a few of them."""

    verb: BulkVerb
    count: int
    title: str
    button: str
    by_type: Lines
    by_error: Lines
    errors_of: str
    """How far the errors were looked at, where not all were."""
    examples: tuple[TaskRow, ...]
    fixed: str
    fields: Lines
    missing: tuple[str, ...]
    counted: bool
    """Whether the number is known: nothing is offered where it is not."""


def preview(session: Session, verb: BulkVerb, selection: Selection, strip: Strip) -> Preview:
    """The page that comes before a verb on `selection`."""
    patience = Patience(session)
    rows = patience.read(EXAMPLE, lambda: _examples(session, selection)) or []
    by_type = patience.read(NUMBER, lambda: _by_type(session, selection, rows))
    number = len(selection.ids) if selection.ids else sum((by_type or {}).values())
    counted = by_type is not None
    by_error, errors_of = patience.read(ERRORS, lambda: _by_error(session, selection, rows, strip.now)) or (
        {},
        "",
    )
    title = f"{verb.word} {_noun(number, selection.state)}?" if number else f"Nothing to {verb.word.lower()}."
    return Preview(
        verb=verb,
        count=number,
        title=title if counted else f"{verb.word} how many?",
        button=f"{verb.word} {formats.plural(number, 'job')}",
        by_type=_lines(by_type or {}, "other type"),
        by_error=_lines(by_error, "other error"),
        errors_of=errors_of,
        examples=task_rows(session, rows[:EXAMPLES], strip.now),
        fixed=_fixed(selection, number, strip.now),
        fields=_fields(selection, strip.now),
        missing=(*strip.missing, *patience.missing),
        counted=counted,
    )


def _by_type(session: Session, selection: Selection, rows: list[Task]) -> dict[str, int]:
    if selection.ids:
        return Counter(row.task_type for row in rows)
    if selection.trash_of:
        return {"": count(session.connection(), selection)}
    return count_by_type(session.connection(), selection)


def _by_error(
    session: Session, selection: Selection, rows: list[Task], now: datetime
) -> tuple[dict[str, int], str]:
    """How many ended by which error, and how far was looked for that."""
    if selection.ids:
        errors = [error_view(row.error_message) for row in rows if row.state is TaskState.FAILED]
        return Counter(each.name or each.message for each in errors if each), ""
    if selection.state is not TaskState.FAILED or selection.group:
        return {}, ""
    found = failure_groups.look(session, now=now, since=None, task_type=selection.task_type)
    attempts = failure_groups.attempts_by_id(session, [each.attempt for each in found.groups if each.attempt])
    numbers: Counter[str] = Counter()
    for group in found.groups:
        attempt = attempts.get(group.attempt or 0)
        numbers[(attempt.error_class if attempt else "") or "without an error's name"] += group.count
    return numbers, "" if found.whole else f"among the last {formats.number(failure_groups.FAR)} that failed"


def _lines(numbers: dict[str, int], others: str) -> Lines:
    most = sorted(((name, number) for name, number in numbers.items() if number), key=lambda item: -item[1])
    shown = [
        (formats.shortened(formats.one_line(masked_text(name)), 80) or "no type", formats.number(number))
        for name, number in most[:LINES]
    ]
    if rest := sum(number for _, number in most[LINES:]):
        shown.append((formats.plural(len(most) - LINES, others), formats.number(rest)))
    return tuple(shown)


def _noun(number: int, state: TaskState | None) -> str:
    word = f"{state.value.replace('_', ' ')} job" if state else "job"
    return formats.plural(number, word)


def _fixed(selection: Selection, number: int, now: datetime) -> str:
    large = number > bulk.AT_ONCE
    background = f" It is done in the background, {bulk.CHUNK:,} at a time; you may leave." if large else ""
    if selection.ids:
        return background.strip()
    return f"The list is fixed now: what changes after {now:%H:%M:%S} UTC is not part of it.{background}"


def _fields(selection: Selection, now: datetime) -> Lines:
    if selection.ids:
        return tuple(("id", str(one)) for one in selection.ids)
    found = {
        "all": "1",
        "state": selection.state.value if selection.state else "",
        "type": selection.task_type or "",
        "group": selection.group or "",
        "until": (selection.until or now).isoformat(),
    }
    return tuple((name, value) for name, value in found.items() if value)


def _examples(session: Session, selection: Selection) -> list[Task]:
    statement = select(Task).where(
        Task.id.in_(bulk_actions.some_of(selection, max(EXAMPLES, len(selection.ids))))
    )
    return brief_tasks(session, statement.order_by(Task.updated_at.desc(), Task.id))
