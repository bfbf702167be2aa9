"""The arguments of `/jobs` and other lists. A value that no page links to is answered with 400."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from flask import abort
from werkzeug.datastructures import MultiDict

from spoils.masking import masked
from spoils.models import WAITING, TaskState
from spoils.web import paging

LONGEST = 255
WAITING_ARG = "waiting"
"""The value of `state` that stands for both states in which a job waits."""
MOST_WORDS = 8
CHANGED = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
"""The values of `changed`: how long ago a job may have changed."""
BOTH_PLACES = "Use either older or newer, not both."
BAD_PLACE = "This place in the list is not valid. Start again at the newest."
_GROUP = re.compile(r"(words:|crashed:)?[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list of jobs, as in its URL."""

    state: TaskState | None = None
    waiting: bool = False
    task_type: str | None = None
    batch: UUID | None = None
    words: tuple[str, ...] = ()
    """Words that the error has, all of them."""
    changed: str | None = None
    """A key of `CHANGED`."""
    older_than: tuple[datetime, UUID] | None = None
    newer_than: tuple[datetime, UUID] | None = None

    @property
    def states(self) -> tuple[TaskState, ...]:
        """The states that the list shows."""
        if self.waiting:
            return WAITING
        if self.words and not self.state:
            return (TaskState.FAILED, TaskState.RETRIED)
        return (self.state,) if self.state else tuple(TaskState)

    @property
    def error(self) -> str:
        """The words of the error as one text."""
        return " ".join(self.words)

    @property
    def narrowed(self) -> bool:
        """Whether it lists fewer jobs than the counts by type and state, or those of a batch, say."""
        return bool(self.words or self.changed)

    @property
    def by_due(self) -> bool:
        """Whether the list is sorted by when its jobs are due; other lists are sorted by their last change."""
        return self.state is TaskState.NEW and self.batch is None and not self.narrowed

    @property
    def state_arg(self) -> str | None:
        """The value of `state` in the URL."""
        return WAITING_ARG if self.waiting else self.state and self.state.value

    @property
    def word(self) -> str:
        """The state in a sentence; empty for all states."""
        return (self.state_arg or "").replace("_", " ")

    @property
    def placed(self) -> bool:
        """Whether the URL names a place in the list, which may not be its start."""
        return self.older_than is not None or self.newer_than is not None

    def url_args(self, **changed: str | None) -> dict[str, str | None]:
        """Arguments for `url_for` that keep the filters but for `changed`, from the start of the list."""
        batch = str(self.batch) if self.batch else None
        kept = {
            "state": self.state_arg,
            "type": self.task_type,
            "batch": batch,
            "error": self.error or None,
            "changed": self.changed,
        }
        return {**kept, **changed}


def read_filters(args: MultiDict[str, str]) -> Filters:
    """The filters in the URL. Aborts with 400."""
    older, newer = read_text(args, "older"), read_text(args, "newer")
    if older and newer:
        abort(400, BOTH_PLACES)
    waiting = args.get("state") == WAITING_ARG
    return Filters(
        state=None if waiting else read_state(args),
        waiting=waiting,
        task_type=read_text(args, "type"),
        batch=read_batch(args),
        words=read_words(read_text(args, "error") or ""),
        changed=read_changed(args),
        older_than=_place(older),
        newer_than=_place(newer),
    )


def read_state(args: MultiDict[str, str]) -> TaskState | None:
    """The state in the URL. Aborts with 400."""
    state = read_text(args, "state")
    if state and state not in list(TaskState):
        abort(400, "Unknown state. The states are new, in_progress, retried, failed and finished.")
    return TaskState(state) if state else None


def read_words(text: str) -> tuple[str, ...]:
    """The words of an error that `text` asks for. Aborts with 400."""
    refuse_secrets(text)
    words = tuple(dict.fromkeys(text.split()))
    if len(words) > MOST_WORDS:
        abort(400, f"A search takes at most {MOST_WORDS} words.")
    return words


def refuse_secrets(asked: dict[str, str] | str) -> None:
    """Abort with 400: a search that finds masked text would reveal it letter by letter."""
    if masked(asked) != asked:
        abort(400, "Secrets are masked on every page and cannot be searched.")


def read_changed(args: MultiDict[str, str]) -> str | None:
    """The time range in the URL. Aborts with 400."""
    changed = read_text(args, "changed")
    if changed and changed not in CHANGED:
        abort(400, "Unknown time range. The time ranges are 1h, 24h and 7d.")
    return changed


def read_batch(args: MultiDict[str, str]) -> UUID | None:
    """The id of a batch in the URL. Aborts with 400."""
    text = read_text(args, "batch")
    try:
        return UUID(text) if text else None
    except ValueError:
        abort(400, "Not the id of a batch.")


def read_group(args: MultiDict[str, str]) -> str | None:
    """The key of a group of failures in the URL. Aborts with 400."""
    key = read_text(args, "group")
    return check_group(key) if key else None


def check_group(key: str) -> str:
    """The key if it has the form of one, else abort with 400."""
    if not _GROUP.fullmatch(key):
        abort(400, "Not a valid key of a group of failures.")
    return key


def read_text(args: MultiDict[str, str], name: str) -> str | None:
    """A short, printable argument. Aborts with 400."""
    text = args.get(name) or None
    if text is not None and ("\0" in text or len(text) > LONGEST or not text.isprintable()):
        abort(400, f"The argument {name} is not valid.")
    return text


def _place(text: str | None) -> tuple[datetime, UUID] | None:
    if text is None:
        return None
    try:
        return paging.decode(text, UUID)
    except paging.BadCursor:
        abort(400, BAD_PLACE)
