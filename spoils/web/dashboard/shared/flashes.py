"""What a verb has to say on the next page: a sentence, and a link to what changed."""

import json
from dataclasses import asdict, dataclass
from typing import Literal
from uuid import UUID

from flask import flash, get_flashed_messages

from spoils.web.dashboard.shared.formats import shortened

LONGEST = 300
Kind = Literal["done", "refused"]


@dataclass(frozen=True, slots=True)
class Flash:
    """One sentence; `task` is the id of what it links to, which may be the `twin` that stood in the way.

    `undo` is where a form is sent that takes it back, `more` the page that tells all of it.
    """

    kind: str
    sentence: str
    task: str | None = None
    twin: bool = False
    undo: str | None = None
    more: str | None = None


def say(
    kind: Kind,
    sentence: str,
    task: UUID | None = None,
    *,
    twin: bool = False,
    undo: str | None = None,
    more: str | None = None,
) -> None:
    """Keep a sentence for the next page of this client, cut to what a cookie holds: browsers take 4 KiB."""
    said = Flash(kind, shortened(sentence, LONGEST), str(task) if task else None, twin, undo, more)
    flash(json.dumps(asdict(said)), kind)


def heard() -> list[Flash]:
    """What was kept; it is shown once."""
    return [Flash(**json.loads(text)) for text in get_flashed_messages() if isinstance(text, str)]
