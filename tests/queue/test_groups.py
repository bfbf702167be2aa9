"""Groups of failures: who belongs to one, how many of which type, and when it was seen."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from spoils.models import TaskState
from spoils.queue.selection import Selection, count, count_by_type
from spoils.queue.tasks import server_now
from spoils.reports import bulk_actions, failure_groups
from tests.rows import Rows


def failed(rows: Rows, key: str | None, *, minutes_ago: int = 0, task_type: str = "sample") -> UUID:
    """A task that failed at its second attempt, as one of a group."""
    task_id = rows.task(state="failed", attempts=2, task_type=task_type, error_message="ValueError: no")
    rows.connection.execute(
        text("UPDATE fang_tasks SET updated_at = now() - make_interval(mins => :ago) WHERE id = :id"),
        {"ago": minutes_ago, "id": task_id},
    )
    if key:
        attempted(rows, task_id, 2, key, minutes_ago=minutes_ago)
    return task_id


def attempted(
    rows: Rows, task_id: UUID, attempt: int, key: str, *, minutes_ago: int = 0, release: str = "v1"
) -> None:
    rows.attempt(task_id, attempt, "failed", ago=minutes_ago * 60, fingerprint=key, release=release)


def test_a_group_is_counted_by_type_whatever_else_has_failed(session: Session, rows: Rows) -> None:
    for task_type, number in (("sample", 3), ("mail", 2)):
        for _ in range(number):
            failed(rows, "a", task_type=task_type)
    failed(rows, "b")
    failed(rows, None)
    again = failed(rows, "b")
    attempted(rows, again, 1, "a")
    meant = Selection(state=TaskState.FAILED, group="a", until=server_now(session.connection()))
    assert count_by_type(session.connection(), meant) == {"sample": 3, "mail": 2}
    assert count(session.connection(), meant) == 5


def test_members_are_those_that_failed_last_with_it(session: Session, rows: Rows) -> None:
    tasks = [failed(rows, "a", minutes_ago=ago) for ago in (1, 2, 3)]
    moved_on = failed(rows, "b")
    attempted(rows, moved_on, 1, "a")
    retried = failed(rows, "a")
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'new' WHERE id = :id"), {"id": retried})
    assert [task.id for task in failure_groups.members(session, "a", 2)] == tasks[:2]
    meant = Selection(state=TaskState.FAILED, group="a")
    assert set(session.scalars(bulk_actions.some_of(meant, 10))) == set(tasks)
