"""What `/jobs` is asked for. Each argument is one that we know, or the answer is 400."""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from flask import abort
from werkzeug.datastructures import MultiDict

from spoils.models import WAITING, TaskState
from spoils.web import paging
from spoils.web.masking import masked

LONGEST = 255
MOST_WORDS = 8
WAITS = "waiting"
"""What `state` may name besides a state: both of those in which a job waits."""
_GROUP = re.compile(r"(words:)?[A-Za-z0-9_-]{1,64}")
_FIELD = re.compile(r"(?P<field>[A-Za-z_][A-Za-z0-9_]{0,62}):(?P<value>.+)")


@dataclass(frozen=True, slots=True)
class Search:
    """A field of the payload and the value that it must have."""

    field: str
    value: str

    @property
    def title(self) -> str:
        """What was asked for."""
        return f"Jobs with {self.field} {self.value}"

    @property
    def text(self) -> str:
        """What the search box holds."""
        return f"{self.field}:{self.value}"


@dataclass(frozen=True, slots=True)
class Words:
    """Words that an error must have, all of them."""

    words: tuple[str, ...]

    @property
    def title(self) -> str:
        """What was asked for."""
        return f"Jobs whose error has {' and '.join(f'“{word}”' for word in self.words)}"

    @property
    def text(self) -> str:
        """What the search box holds."""
        return " ".join(self.words)


@dataclass(frozen=True, slots=True)
class Filters:
    """A list of jobs as its URL names it."""

    state: TaskState | None = None
    waiting: bool = False
    task_type: str | None = None
    older_than: tuple[datetime, UUID] | None = None
    newer_than: tuple[datetime, UUID] | None = None

    @property
    def states(self) -> tuple[TaskState, ...]:
        """Those that the list is of."""
        if self.waiting:
            return WAITING
        return (self.state,) if self.state else tuple(TaskState)

    @property
    def state_arg(self) -> str | None:
        """What `state` is in the URL."""
        return WAITS if self.waiting else self.state and self.state.value

    @property
    def word(self) -> str:
        """The state as a sentence names it; empty for all of them."""
        return (self.state_arg or "").replace("_", " ")

    @property
    def placed(self) -> bool:
        """Whether the URL names a place, so that this may not be the top."""
        return self.older_than is not None or self.newer_than is not None

    def url_args(self, **changed: str | None) -> dict[str, str | None]:
        """Arguments for `url_for` that keep the filter, with some of them changed; the place is let go."""
        kept = {"state": self.state_arg, "type": self.task_type}
        return {**kept, **changed}


def read_filters(args: MultiDict[str, str]) -> Filters:
    """Raises 400 with a sentence."""
    older, newer = read_text(args, "older"), read_text(args, "newer")
    if older and newer:
        abort(400, "A list goes on to older jobs or to newer ones, not to both.")
    waiting = args.get("state") == WAITS
    return Filters(
        state=None if waiting else read_state(args),
        waiting=waiting,
        task_type=read_text(args, "type"),
        older_than=_place(older),
        newer_than=_place(newer),
    )


def read_search(args: MultiDict[str, str]) -> UUID | Search | Words | None:
    """What `q` asks for: an id, `field:value`, or words of an error. Raises 400 with a sentence."""
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
    return Search(field, value)


def _refuse_secrets(asked: dict[str, str] | str) -> None:
    """A search that finds what pages mask would tell it, letter by letter."""
    if masked(asked) != asked:
        abort(400, "Secrets are masked on every page and cannot be searched. Search for something else.")


def _read_words(text: str) -> Words:
    _refuse_secrets(text)
    words = tuple(dict.fromkeys(text.split()))
    if len(words) > MOST_WORDS:
        abort(400, f"Search takes at most {MOST_WORDS} words of an error.")
    return Words(words)


def read_state(args: MultiDict[str, str]) -> TaskState | None:
    """The state that is asked for. Raises 400 with a sentence."""
    state = read_text(args, "state")
    if state and state not in list(TaskState):
        abort(400, "There is no such state. The states are new, in_progress, retried, failed and finished.")
    return TaskState(state) if state else None


def read_group(args: MultiDict[str, str]) -> str | None:
    """The key of a group of failures. Raises 400 with a sentence."""
    key = read_text(args, "group")
    return check_group(key) if key else None


def check_group(key: str) -> str:
    """The key, where it may be one of a group. Raises 400 with a sentence."""
    if not _GROUP.fullmatch(key):
        abort(400, "There is no such group of failures.")
    return key


def read_text(args: MultiDict[str, str], name: str) -> str | None:
    """A short argument. Raises 400 with a sentence."""
    text = args.get(name) or None
    if text is not None and ("\0" in text or len(text) > LONGEST or not text.isprintable()):
        abort(400, f"The argument {name} is not one that a page here links to.")
    return text


def _place(text: str | None) -> tuple[datetime, UUID] | None:
    if text is None:
        return None
    try:
        return paging.decode(text, UUID)
    except paging.BadCursor:
        abort(400, "The place in the list is not one that a page here links to. Begin again at the newest.")
