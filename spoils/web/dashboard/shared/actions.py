"""Which verbs a task's state allows; one that it does not allow is not shown. Pure."""

from dataclasses import dataclass
from datetime import datetime

from spoils.models import WAITING, Task, TaskState


@dataclass(frozen=True, slots=True)
class Verb:
    """A button: its words, short for a row and long for a menu or page, and the noun that it is posted to."""

    word: str
    whole: str
    noun: str


RETRY = Verb("Retry", "Retry", "retries")
RUN_NOW = Verb("Run now", "Run now", "runs")
CANCEL = Verb("Cancel", "Cancel this job", "cancellations")
STOP = Verb("Cancel", "Ask it to stop", "cancellations")
DELETE = Verb("Delete", "Delete this job", "deletions")


def verbs_for(task: Task, now: datetime) -> tuple[Verb, ...]:
    """The likeliest first."""
    if task.state is TaskState.FAILED:
        return (RETRY, DELETE)
    if task.state in WAITING:
        later = (RUN_NOW,) if task.scheduled_at > now else ()
        return (*later, CANCEL, DELETE)
    if task.state is TaskState.IN_PROGRESS:
        return () if task.cancel_requested_at else (STOP,)
    return (DELETE,)
