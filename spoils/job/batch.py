"""Jobs that are enqueued together: a batch, and a chain."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import UUID

from spoils.errors import PayloadError, SpoilsError

if TYPE_CHECKING:
    from spoils.job.base import Job

LONGEST_NAME = 200
Condition = Literal["end", "success"]
_CONDITIONS = ("end", "success")


class BatchClosed(SpoilsError):
    """The batch was enqueued at the end of its `with` block. Only its members can add others, by queue.add_to_batch."""


class Member(NamedTuple):
    """A job to be enqueued: `at` is the aware moment before which it is not due, `priority` −2 … 2."""

    job: "Job"
    at: datetime | None = None
    priority: int = 0


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


class Batch:
    """Collects the jobs of a batch; they are enqueued together at the end of the `with` block."""

    def __init__(
        self, batch_id: UUID, *, then: "Job | None" = None, name: str | None = None, on: Condition = "end"
    ) -> None:
        if on not in _CONDITIONS:
            raise ValueError('on is "end" or "success".')
        self.id = batch_id
        self.name = _checked(name)
        self.then = then
        self.on = on
        self.members: list[Member] = []
        self._closed = False

    def enqueue(self, job: "Job", *, at: datetime | None = None, priority: int = 0) -> None:
        """Make `job` a member. `at` is the moment before which it is not due, `priority` is −2 … 2, higher first."""
        if self._closed:
            raise BatchClosed
        self.members.append(Member(job, at, priority))

    def close(self) -> None:
        """Refuse further members: they would be lost."""
        self._closed = True


class Chain:
    """Jobs each of which is enqueued when the one before has finished."""

    def __init__(self, chain_id: UUID, links: list[Member], *, name: str | None = None) -> None:
        if not links:
            raise ValueError("A chain needs at least one job.")
        self.id = chain_id
        self.name = _checked(name)
        self.links = links


def _checked(name: str | None) -> str | None:
    if name is not None and (len(name) > LONGEST_NAME or not name.isprintable()):
        raise PayloadError(f"The name of a batch is at most {LONGEST_NAME} printable characters.")
    return name
