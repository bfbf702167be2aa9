"""Which failed tasks ended themselves with `Cancel`, and which ones an operator cancelled."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from spoils.job.outcome import Cancelled, Ending
from spoils.models import Attempt, DbSession, Task, TaskState

_BY_OPERATOR = str(Cancelled())


def gave_up(attempt: Attempt) -> bool:
    """Whether the job ended this attempt with `Cancel`. An operator's cancel has the same outcome."""
    return attempt.outcome == Ending.CANCELLED and attempt.message != _BY_OPERATOR


def given_up(session: DbSession, tasks: Sequence[Task]) -> set[UUID]:
    """Those of these tasks whose last attempt the job ended with `Cancel`."""
    failed = {task.id: task.attempts for task in tasks if task.state is TaskState.FAILED and task.attempts}
    if not failed:
        return set()
    found = session.scalars(
        select(Attempt).where(Attempt.task_id.in_(failed), Attempt.outcome == Ending.CANCELLED.value)
    )
    return {each.task_id for each in found if each.attempt == failed[each.task_id] and gave_up(each)}
