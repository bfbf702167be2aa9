"""Async jobs in real worker processes."""

import re
import signal
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from spoils.queue.enqueue import enqueue
from tests.async_jobs import (
    AsyncBlockingJob,
    AsyncCheckpointJob,
    AsyncExitJob,
    AsyncForkingJob,
    AsyncProgramJob,
    AsyncSleepJob,
    AsyncStuckSessionJob,
    AsyncTimeoutJob,
    AsyncWaitJob,
)
from tests.faults.workers import enqueue_all, workers_run
from tests.programs import JOBS, Program, worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.support import eventually

pytestmark = pytest.mark.process


def async_worker(database_url: str, **environment: str) -> Program:
    """Start a worker that has an event loop."""
    return worker(database_url, SPOILS_JOBS=f"{JOBS},tests.async_jobs", **environment)


def all_end(rows: Rows, task_type: str, number: int, timeout: float = 30) -> None:
    ended = "SELECT count(*) FROM fang_tasks WHERE task_type = :type AND state = 'finished'"
    eventually(lambda: rows.value(ended, type=task_type) == number, timeout)


def test_hundreds_of_async_jobs_wait_at_once_in_one_process(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    enqueue_all(connection, [AsyncWaitJob(seconds=1, number=number) for number in range(500)])
    with async_worker(database_url, WORKER_ASYNC_JOBS="250") as program:
        all_end(rows, "async_wait", 500)
        said = re.findall(r"(\d+) wait .*task_id=(\S+)", program.output)
        assert 200 <= max(int(waiting) for waiting, _ in said) <= 250
        assert len({task_id for _, task_id in said}) == 500  # each line carries the id of its job
        program.stop()


def test_sync_jobs_are_picked_up_while_all_async_places_are_taken_and_the_other_way_round(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    enqueue_all(connection, [AsyncWaitJob(seconds=600, number=number) for number in range(120)])
    with async_worker(database_url, WORKER_THREADS="1") as program:
        program.says(r"\b100 wait\b")
        for number in range(5):
            rows.becomes(enqueue(connection, SampleJob(number=number)).id, "finished")
        running = "SELECT count(*) FROM fang_tasks WHERE task_type = 'async_wait' AND state = 'in_progress'"
        assert rows.value(running) == 100
        # What the database says of the worker.
        eventually(lambda: rows.value("SELECT running FROM spoils_workers") == 100)


def test_common_tasks_are_performed_by_their_class_in_a_thread_or_in_the_loop(
    database_url: str, rows: Rows
) -> None:
    """As fang's are, whose type says nothing of the class."""
    kinds = ["SampleJob", "AsyncOutcomeJob"]
    task_ids = [rows.task(task_type="common", metadata={"type": kind, "how": ""}) for kind in kinds]
    unknown = rows.task(task_type="common", metadata={"type": "UnknownJob"})
    with async_worker(database_url):
        for task_id in task_ids:
            rows.becomes(task_id, "finished")
    assert rows.state(unknown) == "new"


def test_after_a_kill_async_jobs_are_rescued_and_no_effect_is_repeated(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    jobs = [AsyncSleepJob(seconds=30, name=f"job {number}", once=True) for number in range(20)]
    with async_worker(database_url) as first:
        enqueue_all(connection, jobs)
        eventually(lambda: rows.value("SELECT count(*) FROM effects WHERE name LIKE '%started'") == 20, 20)
        first.send(signal.SIGKILL)
        first.process.wait(30)
    with async_worker(database_url):
        all_end(rows, "async_sleep", 20)
    assert rows.value("SELECT count(*) FROM effects WHERE name LIKE '%ended'") == 20
    assert rows.all("SELECT DISTINCT crashes, attempts FROM fang_tasks WHERE task_type = 'async_sleep'") == [
        (1, 2)
    ]


def test_sigterm_lets_short_async_jobs_end_and_releases_long_ones(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    short = enqueue(connection, AsyncSleepJob(seconds=1, name="short")).id
    long = enqueue(connection, AsyncSleepJob(seconds=600, name="long")).id
    checks = enqueue(connection, AsyncCheckpointJob()).id
    with async_worker(database_url, SPOILS_SHUTDOWN_SECONDS="4") as program:
        for name in ("short started", "long started", "checkpoint started"):
            rows.effect(name)
        program.stop()
        assert "Task was destroyed" not in program.output
    assert rows.one(short).state == "finished"
    assert [(row.state, row.retries) for row in map(rows.one, (long, checks))] == [("new", 0)] * 2
    assert (rows.effects("short ended"), rows.effects("long interrupted")) == (1, 1)
    assert rows.value("SELECT ended_how FROM spoils_workers") == "clean"


def test_a_timeout_reaches_an_async_job_and_its_writes_are_lost(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, AsyncTimeoutJob()).id
    with async_worker(database_url):
        rows.becomes(task_id, "retried")
    assert rows.all("SELECT outcome FROM spoils_attempts") == [("timed_out",)]
    assert rows.effects("timeout") == 0


def test_an_async_job_that_swallows_its_interruption_loses_its_place_and_its_writes(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, AsyncTimeoutJob(swallows="each time")).id
    with async_worker(database_url, WORKER_ASYNC_JOBS="1") as program:
        rows.becomes(task_id, "retried", timeout=20)
        rows.becomes(enqueue(connection, AsyncSleepJob(seconds=0)).id, "finished")
        program.says("Abandoning one of the async jobs")
    assert rows.all("SELECT outcome FROM spoils_attempts") == [("timed_out",)]
    assert rows.effects("timeout") == 0


def test_a_process_that_has_lost_half_of_its_async_places_drains_and_ends(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    for number in range(2):
        enqueue(connection, AsyncTimeoutJob(swallows="each time", number=number))
    with async_worker(database_url, WORKER_ASYNC_JOBS="4", SPOILS_SHUTDOWN_SECONDS="1") as program:
        assert program.ends(timeout=30) == 1
        assert "Half of the async jobs are lost" in program.output


def test_a_process_whose_session_connections_are_all_lost_to_async_jobs_drains_and_ends(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    enqueue(connection, AsyncStuckSessionJob())
    with async_worker(database_url, SPOILS_DB_CONNECTIONS="4", SPOILS_SHUTDOWN_SECONDS="1") as program:
        assert program.ends(timeout=30) == 1
        assert "All sessions of async jobs are lost" in program.output


@pytest.mark.parametrize("then", ["return", "await"])
def test_a_forked_process_goes_on_with_no_other_job(
    database_url: str, connection: Connection, rows: Rows, then: str
) -> None:
    """If it did, both processes would write each effect."""
    enqueue_all(connection, [AsyncSleepJob(seconds=3, name=f"job {number}") for number in range(10)])
    with async_worker(database_url):
        eventually(lambda: rows.value("SELECT count(*) FROM effects WHERE name LIKE '%started'") == 10)
        rows.becomes(enqueue(connection, AsyncForkingJob(then=then)).id, "finished")
        all_end(rows, "async_sleep", 10)
    assert rows.effects("child 0") == 1


def test_an_async_job_can_run_a_program(database_url: str, connection: Connection, rows: Rows) -> None:
    task_id = enqueue(connection, AsyncProgramJob()).id
    with async_worker(database_url):
        rows.becomes(task_id, "finished")
    assert rows.effects("program 0") == 1


def test_a_cancel_reaches_an_async_job(database_url: str, connection: Connection, rows: Rows) -> None:
    task_id = enqueue(connection, AsyncSleepJob(seconds=600)).id
    with async_worker(database_url):
        rows.effect("sleep started")
        connection.execute(text("UPDATE fang_tasks SET cancel_requested_at = now()"))
        rows.becomes(task_id, "failed", timeout=20)
    assert rows.one(task_id).error_message == "It was cancelled by an operator."
    assert rows.effects("sleep interrupted") == 1


def test_a_job_that_blocks_the_event_loop_is_named_with_its_stack_while_it_does(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    blocking = enqueue(connection, AsyncBlockingJob(seconds=15)).id
    with async_worker(database_url) as program:
        rows.becomes(blocking, "in_progress")
        said = program.says("AsyncBlockingJob blocks the event loop.*threading.Event.*wait", timeout=10)
        assert rows.state(blocking) == "in_progress"
        assert str(blocking) in said.string
        # Meanwhile nothing is claimed for the loop, and threads go on.
        waits = enqueue(connection, AsyncWaitJob(seconds=0)).id
        rows.becomes(enqueue(connection, SampleJob()).id, "finished")
        assert rows.state(waits) == "new"
        rows.becomes(waits, "finished", timeout=30)


def test_a_task_of_a_job_that_exits_ends_neither_the_loop_nor_the_worker(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    exits = enqueue(connection, AsyncExitJob()).id
    with async_worker(database_url) as program:
        rows.becomes(exits, "finished")
        rows.becomes(enqueue(connection, AsyncWaitJob(seconds=0)).id, "finished")
        program.stop()


def test_a_worker_without_async_classes_has_no_event_loop(database_url: str, rows: Rows) -> None:
    with worker(database_url) as without, async_worker(database_url) as program:
        workers_run(rows, 2)

        def two_threads_more() -> None:
            threads = [len([*Path(f"/proc/{one.process.pid}/task").iterdir()]) for one in (program, without)]
            assert threads[0] - threads[1] == 2  # the loop, and the thread that watches it

        eventually(two_threads_more)  # of both, others come and go
