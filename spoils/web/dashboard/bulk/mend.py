"""The page that changes one field of many failed jobs: before and after of ten, and what their classes refuse."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from spoils.errors import PayloadError
from spoils.job import Job
from spoils.masking import masked
from spoils.models import Task
from spoils.queue.actions import WAITS
from spoils.queue.edits import Mend, edited
from spoils.queue.selection import Selection
from spoils.reports.brief_tasks import some_of_selection
from spoils.web.dashboard.enqueue.form import read_value
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.job_row import class_of, short_id

EXAMPLES = 10
MOST_CHECKED = 5_000
"""Of how many jobs the preview counts what their classes refuse."""


@dataclass(frozen=True, slots=True)
class Example:
    """A job with the value of the field before and after, or why it is refused."""

    id: str
    short_id: str
    before: str
    after: str
    refused: str


@dataclass(frozen=True, slots=True)
class MendPreview:
    """The form, and what the change would do; nothing yet without a chosen field."""

    fields: tuple[str, ...]
    wrong: str
    mend: Mend | None
    examples: tuple[Example, ...]
    changes: int
    refused: int
    checked: str
    """Which jobs were checked, if not all."""
    first: str
    """The job that "Try one" changes."""


def preview_mend(session: Session, selection: Selection, given: Mapping[str, str]) -> MendPreview:
    """Try the change that the form `given` describes on the jobs of the selection, and write nothing."""
    rows = some_of_selection(session, selection, MOST_CHECKED + 1)
    checked = "" if len(rows) <= MOST_CHECKED else f"of the last {formats.number(MOST_CHECKED)} that changed"
    rows = rows[:MOST_CHECKED]
    classes = list(dict.fromkeys(job_class for row in rows if (job_class := class_of(row))))
    fields = tuple(dict.fromkeys(name for job_class in classes for name in job_class.model_fields))
    mend, wrong = None, ""
    try:
        mend = read_mend(classes, given) if given.get("field") else None
    except ValueError as exc:
        wrong = str(exc)
    hashes: set[str] = set()
    examples = [_example(row, mend, hashes) for row in rows] if mend else []
    changed = [each for each in examples if not each.refused]
    return MendPreview(
        fields=fields,
        wrong=wrong,
        mend=mend,
        examples=tuple([*changed, *(each for each in examples if each.refused)][:EXAMPLES]),
        changes=len(changed),
        refused=len(examples) - len(changed),
        checked=checked,
        first=changed[0].id if changed else "",
    )


def read_mend(classes: list[type[Job]], given: Mapping[str, str]) -> Mend:
    """The change that a form describes, with the value as the first class that has the field reads it.

    Raises ValueError with a sentence.
    """
    name = given.get("field", "")
    job_class = next((each for each in classes if name in each.model_fields), None)
    if job_class is None:
        raise ValueError(f'None of these jobs has a field "{name[:100]}".')
    where = given.get("where", "")
    value = read_value(job_class, name, given.get("value", ""))
    return Mend(name, value, (read_value(job_class, name, where),) if where else ())


def _example(row: Task, mend: Mend, hashes: set[str]) -> Example:
    """`hashes` are those of the jobs before it, one of which may become the same unique job."""
    before, after, refused = row.payload, None, ""
    try:
        new = edited(before, mend)
        after = json.loads(new["metadata"])
        if new["uniq_hash"] in hashes:
            refused = WAITS
        elif new["uniq_hash"]:
            hashes.add(new["uniq_hash"])
    except PayloadError as exc:
        refused = str(exc)
    return Example(
        id=str(row.id),
        short_id=short_id(row.id),
        before=_shown(before, mend.field),
        after=_shown(after, mend.field),
        refused=refused[:1].upper() + refused[1:],
    )


def _shown(payload: Any, field: str) -> str:
    if not isinstance(payload, dict) or field not in payload:
        return "–"
    text = json.dumps(masked(payload)[field], ensure_ascii=False)
    return formats.shortened(formats.one_line(text), 80)
