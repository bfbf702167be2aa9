"""A query string's arguments: each is one that we know, in its form, or the answer is 400."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from flask import abort
from werkzeug.datastructures import MultiDict

from spoils.models import TaskState
from spoils.web import paging

LONGEST = 255

Arguments = MultiDict[str, str]


def only(args: Arguments, known: Collection[str]) -> None:
    """Aborts with 400 where there is an argument that is not `known`, or one twice."""
    for name in args:
        if name not in known:
            there = ", ".join(sorted(known))
            abort(400, f'There is no argument "{name[:100]}" here. There are: {there}.')
        if len(args.getlist(name)) > 1:
            abort(400, f"The argument {name} is given twice.")


def text(args: Arguments, name: str) -> str | None:
    """A text of up to 255 characters that can be printed; None where it is not given."""
    found = args.get(name)
    if found is not None and (not found or len(found) > LONGEST or not found.isprintable()):
        abort(400, f"The argument {name} needs 1 to {LONGEST} characters that can be printed.")
    return found


def whole_number(args: Arguments, name: str, *, least: int, most: int, otherwise: int) -> int:
    """A whole number in ASCII digits, from `least` to `most`."""
    found = args.get(name)
    if found is None:
        return otherwise
    if not (found.isascii() and found.isdigit() and len(found) <= 9 and least <= int(found) <= most):
        abort(400, f"The argument {name} is a whole number from {least:,} to {most:,}.")
    return int(found)


def state(args: Arguments) -> TaskState | None:
    """The state that `state` names."""
    found = args.get("state")
    if found is not None and found not in list(TaskState):
        abort(400, "There is no such state. The states are new, in_progress, retried, failed and finished.")
    return TaskState(found) if found else None


def place(args: Arguments, name: str) -> tuple[datetime, UUID] | None:
    """The place in a list that an earlier answer named."""
    found = args.get(name)
    if found is None:
        return None
    try:
        return paging.decode(found, UUID)
    except paging.BadCursor:
        abort(400, f"The argument {name} is not one that an answer gave. Begin again without it.")
