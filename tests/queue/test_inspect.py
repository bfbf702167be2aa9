"""Reading the queue: a task, its attempts and twins, and who lives."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from spoils.models import TaskState
from spoils.queue import inspect
from tests.rows import Rows
from tests.sample_jobs import UniqueSampleJob


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def test_a_task_is_found_with_its_attempts_the_last_one_first(session: Session, rows: Rows) -> None:
    task_id = rows.task()
    rows.connection.execute(
        text(
            "INSERT INTO spoils_attempts (task_id, attempt, task_type, outcome, ended_at) "
            "SELECT id, n, 'sample', 'failed', now() "
            "FROM unnest(CAST(:ids AS uuid[])) AS id, generate_series(1, 5) AS n"
        ),
        {"ids": [task_id, uuid4()]},
    )
    found = inspect.find_task(session, task_id)
    assert found is not None
    assert found.state is TaskState.NEW
    assert [one.attempt for one in inspect.attempts_of(session, task_id)] == [5, 4, 3, 2, 1]
    assert [one.attempt for one in inspect.attempts_of(session, task_id, limit=2)] == [5, 4]
    assert inspect.find_task(session, uuid4()) is None


def test_a_task_is_found_as_it_is_now(session: Session, rows: Rows) -> None:
    task_id = rows.task()
    inspect.find_task(session, task_id)
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'failed'"))
    found = inspect.find_task(session, task_id)
    assert found is not None
    assert found.state is TaskState.FAILED


def test_live_is_who_has_not_ended_and_beat_lately(session: Session, rows: Rows) -> None:
    alive = rows.worker(silent_for=25)
    rows.worker(silent_for=31)
    rows.worker(ended=True)
    assert [worker.id for worker in inspect.live_workers(session)] == [alive]


def test_the_oldest_that_waits_is_told_by_type(session: Session, rows: Rows) -> None:
    rows.task(due_in=-5)
    oldest = rows.task(due_in=-50, priority=-2)
    rows.task(due_in=-500, state="in_progress")
    rows.task(due_in=60, task_type="unique_sample")
    (waiting,) = inspect.oldest_waiting(session, ["sample", "unique_sample", "nothing"])
    assert (waiting.task_type, waiting.oldest_due_at) == ("sample", rows.one(oldest).scheduled_at)


def test_twins_are_the_others_of_one_hash_and_one_of_them_may_be_active(session: Session, rows: Rows) -> None:
    digest = UniqueSampleJob().uniq_hash()
    ended, waits, plain = (
        rows.task(state="failed", uniq_hash=digest),
        rows.task(uniq_hash=digest),
        rows.task(),
    )
    one, other, alone = (inspect.find_task(session, task_id) for task_id in (ended, waits, plain))
    assert one is not None
    assert other is not None
    assert alone is not None
    assert [twin.id for twin in inspect.twins_of(session, one)] == [waits]
    assert inspect.active_twin(session, one) == inspect.Twin(waits, TaskState.NEW)
    assert inspect.active_twin(session, other) is None
    assert list(inspect.twins_of(session, alone)) == []
    assert inspect.active_twin(session, alone) is None
