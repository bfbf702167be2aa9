"""What makes a job a duplicate of another one, where `uniq = True` does not say enough."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

OnDuplicate = Literal["skip", "replace", "reschedule"]
ON_DUPLICATE = ("skip", "replace", "reschedule")
LONGEST_WINDOW_SECONDS = 365 * 24 * 3600.0


@dataclass(frozen=True, init=False)
class Unique:
    """Jobs of a class with equal `fields` (all, where none is named) are duplicates of each other.

    A duplicate is refused while the other one waits or runs, or with `while_="waiting"` only while it waits; and with
    `within` for that many seconds after the other one was enqueued, whatever became of it.

        uniq = Unique("product_id", within=3600, while_="waiting")
    """

    fields: tuple[str, ...]
    within: float | timedelta | None
    while_: Literal["waiting", "active"]

    def __init__(
        self,
        *fields: str,
        within: float | timedelta | None = None,
        while_: Literal["waiting", "active"] = "active",
    ) -> None:
        """The class that has it checks the values, since its name belongs into the sentence."""
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "within", within)
        object.__setattr__(self, "while_", while_)

    @property
    def window_seconds(self) -> float | None:
        """The length of the window in seconds."""
        return self.within.total_seconds() if isinstance(self.within, timedelta) else self.within

    @property
    def only_waiting(self) -> bool:
        """Whether a task stops being a duplicate of others when it is claimed."""
        return self.while_ == "waiting"

    def part_of(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is hashed of the object that a row holds: the class and the fields."""
        if not self.fields:
            return metadata
        return {name: metadata[name] for name in ("type", *self.fields)}

    def mistake(self, fields: Mapping[str, object]) -> str | None:
        """What is wrong with it on a class that has these fields; None if nothing is."""
        names: tuple[object, ...] = self.fields
        for name in names:
            if not isinstance(name, str) or name not in fields:
                return f"uniq names {name!r}, which is not a field of the class."
        if len(set(self.fields)) < len(self.fields):
            return "uniq names a field twice."
        if self.while_ not in ("waiting", "active"):
            return 'while_ of uniq must be "waiting" or "active".'
        seconds = self.window_seconds
        if seconds is not None and (
            type(seconds) not in (int, float) or not 0 < seconds <= LONGEST_WINDOW_SECONDS
        ):
            return "within of uniq must be None, or seconds or a timedelta of at most a year."
        return None


def only_waiting(uniq: bool | Unique) -> bool:
    """Whether a task stops being a duplicate of others when it is claimed."""
    return isinstance(uniq, Unique) and uniq.only_waiting


def window_seconds(uniq: bool | Unique) -> float | None:
    """For how long after a job was enqueued its duplicates are refused, whatever became of it."""
    return uniq.window_seconds if isinstance(uniq, Unique) else None
