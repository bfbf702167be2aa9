"""Which actions the state of a job allows; the others are not shown. Pure."""

from dataclasses import dataclass
from datetime import datetime

from spoils.models import WAITING, Task, TaskState


@dataclass(frozen=True, slots=True)
class Action:
    """A button: its label, short in a row and long on a page, the noun in the URL that it posts to, and its style."""

    short: str
    long: str
    noun: str
    destructive: bool = False


RETRY = Action("Retry", "Retry", "retries")
RUN_NOW = Action("Run now", "Run now", "runs")
CANCEL = Action("Cancel", "Cancel this job", "cancellations", destructive=True)
STOP = Action("Cancel", "Ask it to stop", "cancellations", destructive=True)
DELETE = Action("Delete", "Delete this job", "deletions", destructive=True)


def actions_for(task: Task, now: datetime) -> tuple[Action, ...]:
    """The most likely one first."""
    if task.state is TaskState.FAILED:
        return (RETRY, DELETE)
    if task.state in WAITING:
        later = (RUN_NOW,) if task.scheduled_at > now else ()
        return (*later, CANCEL, DELETE)
    if task.state is TaskState.IN_PROGRESS:
        return () if task.cancel_requested_at else (STOP,)
    return (DELETE,)
