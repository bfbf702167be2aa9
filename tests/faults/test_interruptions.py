"""Interruptions by the hundred, at the last moment, and where nobody answers or reads: the worker performs on."""

import os
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from spoils.queue.enqueue import enqueue
from tests.faults.jobs import (
    ChattyJob,
    EndlessJob,
    LastMomentJob,
    PatientLastMomentJob,
    SleepingStatementJob,
    StuckLogJob,
)
from tests.faults.proxy import Proxy
from tests.faults.workers import all_end, enqueue_all, workers_run
from tests.programs import start_worker, worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.support import eventually

pytestmark = pytest.mark.process

THREADS = 6
CANCEL = text(
    "UPDATE fang_tasks SET cancel_requested_at = now() WHERE state = 'in_progress' AND task_type = 'endless'"
)


def timeouts(rows: Rows) -> int:
    return int(rows.value("SELECT count(*) FROM spoils_attempts WHERE outcome = 'timed_out'"))


def size_of(pid: int) -> tuple[int, int]:
    """The process's threads, and its memory in MB."""
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return threads, pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def test_hundreds_of_interruptions_of_jobs_that_compute_and_log_leave_a_worker_that_performs(
    database_url: str, connection: Connection, rows: Rows, thorough: bool
) -> None:
    wanted = 2000 if thorough else 150
    with start_worker(database_url, stdout=subprocess.DEVNULL, WORKER_THREADS=str(THREADS)) as program:
        workers_run(rows, 1)
        enqueue_all(connection, [ChattyJob(number=number) for number in range(THREADS - 2)])
        cancelled = enqueue_all(connection, [EndlessJob(number=0)])

        def cancel_and_count(at_least: int) -> bool:
            connection.execute(CANCEL)
            if rows.state(cancelled[-1]) == "failed":
                cancelled.append(enqueue(connection, EndlessJob(number=len(cancelled))).id)
            return timeouts(rows) >= at_least

        eventually(lambda: cancel_and_count(wanted // 4), timeout=wanted)
        before = size_of(program.process.pid)
        eventually(lambda: cancel_and_count(wanted) and len(cancelled) > 1, timeout=wanted)
        after = size_of(program.process.pid)
        # Beside those that go on, and logs as they do.
        all_end(rows, enqueue_all(connection, [SampleJob(number=number) for number in range(20)]), timeout=30)
        workers_run(rows, 1)
        assert program.process.poll() is None
    assert after[0] == before[0]
    assert after[1] - before[1] < 20, f"{before} MB, then {after}"
    for task_id in cancelled[:-1]:
        assert rows.one(task_id).error_message == "It was cancelled by an operator."
    assert rows.value("SELECT count(*) FROM spoils_workers") == 1


def test_a_worker_works_on_and_stops_while_nobody_reads_its_standard_output(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    reader, writer = os.pipe()
    with start_worker(database_url, stdout=writer) as program:
        workers_run(rows, 1)
        # Two lines of a job fill the pipe after some 240 of them.
        all_end(
            rows, enqueue_all(connection, [SampleJob(number=number) for number in range(600)]), timeout=30
        )
        workers_run(rows, 1)
        program.stop()
    os.close(reader)
    os.close(writer)
    assert rows.value("SELECT ended_how FROM spoils_workers") == "clean"


def test_a_timeout_ends_its_attempt_and_stops_nothing_while_new_connections_are_not_answered(
    proxy: Proxy, connection: Connection, rows: Rows
) -> None:
    with worker(proxy.url) as program:
        workers_run(rows, 1)
        # With each a connection of the jobs' own comes to be, so that those that follow need no new one.
        all_end(rows, enqueue_all(connection, [SampleJob()]), timeout=30)
        asleep = enqueue(connection, SleepingStatementJob()).id
        eventually(lambda: sleepers(rows) == 1)
        proxy.mute()
        all_end(rows, [asleep], timeout=10, state="failed")
        assert rows.one(asleep).error_message == "TimedOut: It took longer than its timeout."
        eventually(lambda: sleepers(rows) == 0)
        all_end(rows, enqueue_all(connection, [SampleJob(number=number) for number in range(20)]), timeout=30)
        workers_run(rows, 1)
        program.stop()


def sleepers(rows: Rows) -> int:
    return int(rows.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))


@pytest.fixture
def deferred(connection: Connection) -> None:
    """Make a table whose writers sleep at their commit."""
    connection.execute(
        text(
            """
            CREATE TABLE deferred (number int);
            CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(120); RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER sleep AFTER INSERT ON deferred
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sleep();
            """
        )
    )


@pytest.mark.parametrize("at", ["flush", "commit"])
@pytest.mark.parametrize("job_class", [LastMomentJob, PatientLastMomentJob], ids=["timeout", "cancel"])
@pytest.mark.usefixtures("deferred")
def test_an_interruption_reaches_the_last_flush_and_the_commit(
    database_url: str,
    connection: Connection,
    rows: Rows,
    job_class: type[LastMomentJob | PatientLastMomentJob],
    at: str,
) -> None:
    with connection.engine.connect() as somebody, worker(database_url):
        somebody.exec_driver_sql("BEGIN")
        somebody.execute(text("INSERT INTO products (barcode, document) VALUES ('12345678', '{}')"))
        task_id = enqueue(connection, job_class(barcode="12345678", at=at)).id
        eventually(lambda: rows.state(task_id) == "in_progress")
        if job_class is PatientLastMomentJob:
            connection.execute(text("UPDATE fang_tasks SET cancel_requested_at = now()"))
        all_end(rows, [task_id], timeout=20, state="failed")
        assert rows.one(task_id).error_message == (
            "It was cancelled by an operator."
            if job_class is PatientLastMomentJob
            else "TimedOut: It took longer than its timeout."
        )
        eventually(lambda: executing(rows) == 0)  # the server lets go of it too
        all_end(rows, enqueue_all(connection, [SampleJob()]), timeout=10)
        somebody.exec_driver_sql("ROLLBACK")


def executing(rows: Rows) -> int:
    return int(
        rows.value(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name LIKE 'spoils:%' AND (wait_event = 'PgSleep' OR wait_event_type = 'Lock')"
        )
    )


def test_a_process_whose_threads_perform_nothing_ends(
    database_url: str, connection: Connection, rows: Rows, thorough: bool
) -> None:
    if not thorough:
        pytest.skip("The watchdog looks on for more than a minute: --thorough.")
    with worker(database_url) as program:
        others = enqueue_all(
            connection, [StuckLogJob(), *(SampleJob(number=number) for number in range(20))]
        )[1:]
        # Its last line does not get through either; the timer that is armed before it ends the process.
        assert program.ends(timeout=100) == 1
    with worker(database_url, WORKER_TASK_TYPES="sample"):
        all_end(rows, others, timeout=60)
