"""What `/jobs` is asked for. Each argument is one that we know, or the answer is 400."""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from flask import abort
from werkzeug.datastructures import MultiDict

from spoils.models import TaskState
from spoils.web.dashboard import cursor

LONGEST = 255
_FIELD = re.compile(r"(?P<field>[A-Za-z_][A-Za-z0-9_]{0,62}):(?P<value>.+)")


@dataclass(frozen=True, slots=True)
class Search:
    """A field of the payload and the value that it must have."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Filters:
    """A list of jobs as its URL names it."""

    state: TaskState | None = None
    task_type: str | None = None
    older_than: tuple[datetime, UUID] | None = None
    newer_than: tuple[datetime, UUID] | None = None

    def url_args(self, **changed: str | None) -> dict[str, str | None]:
        """Arguments for `url_for` that keep the filter, with some of them changed; the place is let go."""
        kept = {"state": self.state.value if self.state else None, "type": self.task_type}
        return {**kept, **changed}


def read_filters(args: MultiDict[str, str]) -> Filters:
    """Raises 400 with a sentence."""
    state = read_text(args, "state")
    if state and state not in list(TaskState):
        abort(400, "There is no such state. The states are new, in_progress, retried, failed and finished.")
    older, newer = read_text(args, "older"), read_text(args, "newer")
    if older and newer:
        abort(400, "A list goes on to older jobs or to newer ones, not to both.")
    return Filters(
        state=TaskState(state) if state else None,
        task_type=read_text(args, "type"),
        older_than=_place(older),
        newer_than=_place(newer),
    )


def read_search(args: MultiDict[str, str]) -> UUID | Search | None:
    """What `q` asks for: an id, or `field:value`. Raises 400 with a sentence."""
    text = (read_text(args, "q") or "").strip()
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        pass
    found = _FIELD.fullmatch(text)
    if not found:
        abort(400, "Search takes a whole id, or a field and its value, such as barcode:737628064502.")
    return Search(found["field"], found["value"].strip())


def read_text(args: MultiDict[str, str], name: str) -> str | None:
    """One argument; None where it is empty. Raises 400 with a sentence where no page of ours would send it."""
    text = args.get(name) or None
    if text is not None and ("\0" in text or len(text) > LONGEST or not text.isprintable()):
        abort(400, f"The argument {name} is not one that a page here links to.")
    return text


def _place(text: str | None) -> tuple[datetime, UUID] | None:
    if text is None:
        return None
    try:
        return cursor.decode(text, UUID)
    except cursor.BadCursor:
        abort(400, "The place in the list is not one that a page here links to. Begin again at the newest.")
