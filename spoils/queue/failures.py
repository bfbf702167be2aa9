"""Tasks that failed, for good or until their next attempt, in groups: like failures share a key, which is the
fingerprint of their last attempt.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, cast, func, literal, select, true

from spoils.job.outcome import Ending
from spoils.models import Attempt, Task, TaskState

LAST = (Ending.FAILED.value, Ending.CRASHED.value, Ending.CANCELLED.value)
"""The outcomes of an attempt that end its task. What an operator cancelled while it waited has none of them."""
OUTCOMES = {
    TaskState.FAILED: LAST,
    TaskState.RETRIED: (Ending.RETRIED.value, Ending.TIMED_OUT.value, Ending.CRASHED.value),
}
"""The outcomes of the last attempt of a task in each of the states that are grouped."""
WORDLESS = "words:"
# What another system's worker said is not masked, and a key that is made of a secret could be compared with guesses.
_VALUES = r"(authori[sz]ation|cookie|phrase).*|\"[^\"]*\"?|'[^']*'?|[=:>]\s*\S+|\S*\d\S*|\S{20,}"


def key_of(fingerprint: Any, words: Any) -> ColumnElement[str]:
    """The key: a fingerprint, or where an attempt left none, a hash of what was said without its values."""
    like = func.regexp_replace(func.left(func.split_part(words, "\n", 1), 500), _VALUES, "…", "gi")
    return func.coalesce(fingerprint, literal(WORDLESS, String) + func.left(func.md5(like), 16))


def last_attempt(task: Any, state: TaskState = TaskState.FAILED) -> Any:
    """A lateral subquery: the attempt that failed a task in that state, if it is on record."""
    return (
        select(Attempt.fingerprint, Attempt.error_class, Attempt.message, Attempt.id)
        .where(
            Attempt.task_id == task.id, Attempt.attempt == task.attempts, Attempt.outcome.in_(OUTCOMES[state])
        )
        # There is one at most; to sort what was found, for each of thousands of tasks, took as long as to find it.
        .limit(1)
        # However deep this is nested, the task is that of the statement around it.
        .correlate(task.id.expression.table)
        .lateral("last_attempt")
    )


def newest_in(key: str, limit: int, state: TaskState = TaskState.FAILED) -> Select[Any]:
    """The ids of the tasks of a group in that state that failed last."""
    if key.startswith(WORDLESS):
        newest = (Task.updated_at.desc(), Task.id.desc())
        return select(Task.id).where(in_group(Task, key, state)).order_by(*newest).limit(limit)
    # From its attempts on, the last first, each with its task: a group of few would be far apart among all that failed,
    # and to join all of a large one takes as long as it is large. What is limited to one is looked for one by one.
    attempt = (
        select(Attempt.task_id, Attempt.attempt, Attempt.ended_at)
        .where(Attempt.fingerprint == key, Attempt.outcome.in_(OUTCOMES[state]))
        .subquery("attempt")
    )
    task = (
        select(Task.id)
        .where(
            Task.id == attempt.c.task_id,
            Task.attempts == attempt.c.attempt,
            Task.state == state,
        )
        .limit(1)
        .lateral("task")
    )
    return (
        select(task.c.id)
        .select_from(attempt.join(task, true()))
        .order_by(attempt.c.ended_at.desc(), task.c.id.desc())
        .limit(limit)
    )


def in_group(task: Any, key: str, state: TaskState = TaskState.FAILED) -> ColumnElement[bool]:
    """The condition that a task in that state belongs to the group of that key."""
    if not key.startswith(WORDLESS):
        found = select(Attempt.task_id).where(
            Attempt.fingerprint == key,
            Attempt.outcome.in_(OUTCOMES[state]),
            Attempt.task_id == task.id,
            Attempt.attempt == task.attempts,
        )
        return and_(task.state == state, found.exists())
    last = last_attempt(task, state)
    own = select(
        key_of(last.c.fingerprint, func.coalesce(last.c.message, task.error_message, cast("", String)))
    ).select_from(select(literal(1)).subquery().outerjoin(last, true()))
    own = own.correlate(task.id.expression.table)
    return and_(task.state == state, own.scalar_subquery() == key)
