"""Ending jobs from outside: timeouts, cancellation, a stopping worker, a database that fails under them."""

import signal

import pytest
from sqlalchemy import Connection, text

from spoils.job import Job
from spoils.queue.enqueue import enqueue
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import (
    BackendKillerJob,
    CheckpointJob,
    DeafJob,
    SampleJob,
    SlowLoopJob,
    SlowQueryJob,
    StoppableJob,
    StubbornJob,
)

pytestmark = pytest.mark.process


@pytest.mark.parametrize("job", [SlowLoopJob(), SlowQueryJob()])
def test_a_job_that_runs_past_its_timeout_is_interrupted_and_tried_again(
    database_url: str, connection: Connection, rows: Rows, job: Job
) -> None:
    task_id = enqueue(connection, job).id
    with worker(database_url, WORKER_THREADS="1"):
        rows.becomes(task_id, "retried")
        row = rows.one(task_id)
        assert row.retries == 1
        rows.becomes(enqueue(connection, SampleJob()).id, "finished")
    attempt = rows.all("SELECT outcome, ran_ms FROM spoils_attempts WHERE task_id = :id", id=task_id)
    assert attempt[0][0] == "timed_out"
    assert 400 <= attempt[0][1] < 30_000


def test_a_thread_that_ignores_its_interruption_is_replaced_and_its_writes_are_lost(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, StubbornJob()).id
    with worker(database_url, WORKER_THREADS="3"):
        rows.becomes(task_id, "retried", timeout=20)
        after = [enqueue(connection, SampleJob(number=number)).id for number in range(5)]
        for one in after:
            rows.becomes(one, "finished")
    assert rows.all("SELECT outcome FROM spoils_attempts WHERE task_id = :id", id=task_id) == [("timed_out",)]
    assert rows.effects("stubborn") == 0


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
        rows.effect("stoppable started")
        connection.execute(text("UPDATE fang_tasks SET cancel_requested_at = now()"))
        rows.becomes(task_id, "failed")
    assert rows.one(task_id).error_message == "asked to stop"


def test_a_cancelled_job_that_does_not_listen_is_interrupted(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, DeafJob()).id
    with worker(database_url):
        rows.effect("deaf started")
        connection.execute(text("UPDATE fang_tasks SET cancel_requested_at = now()"))
        rows.becomes(task_id, "failed", timeout=20)
    assert rows.one(task_id).error_message == "It was cancelled by an operator."
    assert rows.all("SELECT outcome FROM spoils_attempts") == [("cancelled",)]


def test_a_job_that_marks_its_checkpoints_is_given_back_at_once_when_the_worker_stops(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, CheckpointJob()).id
    with worker(database_url) as program:
        rows.effect("checkpoint started")
        program.send(signal.SIGTERM)
        assert program.ends(timeout=10) == 0
    row = rows.one(task_id)
    assert (row.state, row.retries) == ("new", 0)


def test_a_job_whose_database_connection_is_ended_is_given_back_uncounted(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, BackendKillerJob()).id
    with worker(database_url):
        rows.becomes(task_id, "finished", timeout=20)
    row = rows.one(task_id)
    assert (row.retries, row.attempts) == (0, 2)
