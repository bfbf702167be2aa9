"""Ending jobs from outside: timeouts, cancellation, a stopping worker, a database that fails under them."""

import os
import signal

import pytest
from sqlalchemy import Connection, text

from spoils.job import Job
from spoils.queue.enqueue import enqueue
from tests.process.waiting import comes, starts, told
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import (
    EFFECTS,
    BackendKillerJob,
    CheckpointJob,
    DeafJob,
    SampleJob,
    SlowLoopJob,
    SlowQueryJob,
    StoppableJob,
    StubbornJob,
)
from tests.support import eventually

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def effects(connection: Connection) -> None:
    connection.execute(text(EFFECTS))


@pytest.mark.parametrize("job", [SlowLoopJob(), SlowQueryJob()])
def test_a_job_that_runs_past_its_timeout_is_interrupted_and_tried_again(
    database_url: str, connection: Connection, rows: Rows, job: Job
) -> None:
    task_id = enqueue(connection, job).id
    with worker(database_url, WORKER_THREADS="1"):
        comes(rows, task_id, "retried")
        row = rows.one(task_id)
        assert row.retries == 1
        comes(rows, enqueue(connection, SampleJob()).id, "finished")
    attempt = rows.all("SELECT outcome, ran_ms FROM spoils_attempts WHERE task_id = :id", id=task_id)
    assert attempt[0][0] == "timed_out"
    assert 400 <= attempt[0][1] < 30_000


def test_a_thread_that_ignores_its_interruption_is_replaced_and_its_writes_are_lost(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, StubbornJob()).id
    with worker(database_url, WORKER_THREADS="3"):
        comes(rows, task_id, "retried", timeout=20)
        after = [enqueue(connection, SampleJob(number=number)).id for number in range(5)]
        for one in after:
            comes(rows, one, "finished")
    assert rows.all("SELECT outcome FROM spoils_attempts WHERE task_id = :id", id=task_id) == [("timed_out",)]
    assert told(rows, "stubborn") == 0


def test_a_process_that_has_lost_half_of_its_threads_drains_and_ends(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    for number in range(2):
        enqueue(connection, StubbornJob(number=number))
    with worker(database_url, WORKER_THREADS="4", SPOILS_SHUTDOWN_SECONDS="1") as program:
        assert program.ends(timeout=30) == 1
    assert "Half of the threads are lost" in program.output


def test_a_cancelled_job_may_listen(database_url: str, connection: Connection, rows: Rows) -> None:
    task_id = enqueue(connection, StoppableJob()).id
    with worker(database_url):
        starts(rows, "stoppable")
        connection.execute(text("UPDATE fang_tasks SET cancel_requested_at = now()"))
        comes(rows, task_id, "failed")
    assert rows.one(task_id).error_message == "asked to stop"


def test_a_cancelled_job_that_does_not_listen_is_interrupted(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, DeafJob()).id
    with worker(database_url):
        starts(rows, "deaf")
        connection.execute(text("UPDATE fang_tasks SET cancel_requested_at = now()"))
        comes(rows, task_id, "failed", timeout=20)
    assert rows.one(task_id).error_message == "It was cancelled by an operator."
    assert rows.all("SELECT outcome FROM spoils_attempts") == [("cancelled",)]


def test_a_job_that_marks_its_checkpoints_is_given_back_at_once_when_the_worker_stops(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, CheckpointJob()).id
    with worker(database_url) as program:
        starts(rows, "checkpoint")
        program.send(signal.SIGTERM)
        assert program.ends(timeout=10) == 0
    row = rows.one(task_id)
    assert (row.state, row.retries) == ("new", 0)


def test_a_job_whose_database_connection_is_ended_is_given_back_uncounted(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, BackendKillerJob()).id
    with worker(database_url):
        comes(rows, task_id, "finished", timeout=20)
    row = rows.one(task_id)
    assert (row.retries, row.attempts) == (0, 2)


def test_a_parent_starts_a_dead_child_again_and_stops_all(database_url: str, rows: Rows) -> None:
    with worker(database_url, WORKER_PROCESSES="2") as parent:

        def both() -> list[tuple[int, int]]:
            live = rows.all("SELECT pid, pid FROM spoils_workers WHERE ended_at IS NULL")
            assert len(live) == 2
            return live

        first = eventually(both)[0][0]
        os.kill(first, signal.SIGKILL)

        def replaced() -> None:
            assert first not in {pid for pid, _ in both()}

        eventually(replaced, timeout=20)
        parent.send(signal.SIGTERM)
        assert parent.ends() == 0
    assert rows.all("SELECT ended_how, count(*) FROM spoils_workers GROUP BY 1 ORDER BY 1") == [
        ("clean", 2),
        ("killed", 1),
    ]
