"""The parts of a batch that do not depend on its jobs."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from spoils.errors import PayloadError, SpoilsError

LONGEST_NAME = 200
Condition = Literal["end", "success"]


class BatchClosed(SpoilsError):
    """The batch was enqueued at the end of its `with` block. Only its members can add others, by queue.add_to_batch."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of the members of a batch, as its `then` finds it in `queue.batch_result`.

    `failed` does not include the cancelled ones. Deleted members are not counted.
    """

    id: UUID
    name: str | None
    total: int
    finished: int
    failed: int
    cancelled: int


def checked_name(name: str | None) -> str | None:
    """The name of a batch or chain. Raises PayloadError with a sentence."""
    if name is not None and (len(name) > LONGEST_NAME or not name.isprintable()):
        raise PayloadError(f"The name of a batch is at most {LONGEST_NAME} printable characters.")
    return name
