"""Messages for the next page: what an action did, with a link to what changed."""

import json
from dataclasses import asdict, dataclass
from typing import Literal
from uuid import UUID

from flask import flash, get_flashed_messages

from spoils.queue.actions import Change
from spoils.web.dashboard.shared.formats import shortened

LONGEST = 300
Kind = Literal["done", "refused"]


@dataclass(frozen=True, slots=True)
class Flash:
    """A message; `task` is the id of the job that it links to, which is the `duplicate` that blocked an action, if any.

    `undo` is the address of the form that reverts the action, `more` that of the page with all details.
    """

    kind: str
    sentence: str
    task: str | None = None
    duplicate: bool = False
    undo: str | None = None
    more: str | None = None


def add_flash(
    kind: Kind,
    sentence: str,
    task: UUID | None = None,
    *,
    duplicate: bool = False,
    undo: str | None = None,
    more: str | None = None,
) -> None:
    """Keep a message for the next page of this client, cut to fit into a cookie of 4 KiB."""
    kept = Flash(kind, shortened(sentence, LONGEST), str(task) if task else None, duplicate, undo, more)
    flash(json.dumps(asdict(kept)), kind)


def flash_change(change: Change, task_id: UUID | None, *, undo: str | None = None) -> None:
    """Report what an action did to a job, with a link to the job or to the duplicate that blocked it."""
    kind: Kind = "done" if change.done else "refused"
    add_flash(
        kind, change.sentence, change.duplicate or task_id, duplicate=change.duplicate is not None, undo=undo
    )


def take_flashes() -> list[Flash]:
    """The messages kept for this page; each is shown once."""
    return [Flash(**json.loads(text)) for text in get_flashed_messages() if isinstance(text, str)]
