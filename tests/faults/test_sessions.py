"""Errors of the database's inside a job's own session: which of them count, and which give the task back."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from spoils.queue.enqueue import enqueue
from tests.faults import invariants
from tests.faults.jobs import DeadlockJob, SqlStateJob
from tests.faults.workers import all_end, enqueue_all
from tests.programs import worker
from tests.rows import Rows
from tests.support import eventually

pytestmark = pytest.mark.process

RAISE_STATE = """
CREATE FUNCTION raise_state(code text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'injected' USING ERRCODE = code;
END $$;
"""


def one_for_each(connection: Connection, codes: Sequence[str], **fields: int) -> dict[str, UUID]:
    """Enqueue a job for each code that its session is to meet; one worker performs them all."""
    connection.execute(text(RAISE_STATE))
    for code in codes:
        connection.execute(text(f"CREATE SEQUENCE session_faults_{code}"))
    return {code: enqueue(connection, SqlStateJob(code=code, **fields)).id for code in codes}


def test_a_session_that_meets_a_trouble_of_the_database_s_gives_the_task_back_uncounted(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    tasks = one_for_each(connection, ["40001", "40P01", "57P01", "08006", "53300"], attempts=2)
    with worker(database_url):
        all_end(rows, tasks.values(), timeout=30)
    for code, task_id in tasks.items():
        row = rows.one(task_id)
        assert (row.retries, row.attempts, row.crashes) == (0, 3, 0), code
    invariants.check(rows, list(tasks.values()))


def test_a_session_that_never_gets_over_its_trouble_counts_as_failed_from_the_sixth_time_on(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = one_for_each(connection, ["40001"])["40001"]
    with worker(database_url):
        all_end(rows, [task_id], timeout=40, state="retried")
        eventually(lambda: rows.one(task_id).retries == 1)
    outcomes = rows.all("SELECT outcome FROM spoils_attempts ORDER BY attempt")
    assert [outcome for (outcome,) in outcomes] == ["released"] * 5 + ["retried"]
    invariants.check(rows, [task_id])


def test_a_session_that_meets_an_error_of_the_job_s_own_making_is_a_failure(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    tasks = one_for_each(connection, ["57014", "55P03", "53100", "25006"])
    with worker(database_url):
        all_end(rows, tasks.values(), timeout=30, state="retried")
    for code, task_id in tasks.items():
        assert rows.one(task_id).retries == 1, code
        outcomes = rows.all("SELECT outcome FROM spoils_attempts WHERE task_id = :id", id=task_id)
        assert outcomes == [("retried",)], code
    invariants.check(rows, list(tasks.values()))


def test_two_jobs_whose_sessions_lock_each_other_out_both_finish_and_neither_is_counted_as_failed(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    connection.execute(text("CREATE TABLE accounts (id INT PRIMARY KEY)"))
    connection.execute(text("INSERT INTO accounts VALUES (1), (2)"))
    pair = enqueue_all(connection, [DeadlockJob(first=1, second=2), DeadlockJob(first=2, second=1)])
    with worker(database_url, WORKER_THREADS="2"):
        all_end(rows, pair, timeout=40)
    ((outcome, message),) = rows.all("SELECT outcome, message FROM spoils_attempts")
    assert outcome == "released"
    assert "deadlock detected" in message
    assert sorted(rows.one(task_id).attempts for task_id in pair) == [1, 2]
    assert rows.value("SELECT max(retries) + max(crashes) FROM fang_tasks WHERE task_type = 'deadlock'") == 0
    invariants.check(rows, pair)
