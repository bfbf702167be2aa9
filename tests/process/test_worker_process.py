"""The worker as a real process: it works, drains, gives back, is rescued, and loses when it comes back too late."""

import signal
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from spoils.queue.enqueue import enqueue
from tests.programs import Program, worker
from tests.rows import Rows
from tests.sample_jobs import (
    EFFECTS,
    DieJob,
    EffectJob,
    EverySecondJob,
    HoldingJob,
    RaisingJob,
    SampleJob,
    SleepJob,
    StoppableJob,
)
from tests.support import eventually

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def effects(connection: Connection) -> None:
    connection.execute(text(EFFECTS))


def told(rows: Rows, name: str) -> int:
    return int(rows.value("SELECT count(*) FROM effects WHERE name = :name", name=name))


def comes(rows: Rows, task_id: UUID, state: str, timeout: float = 15.0) -> None:
    def look() -> None:
        assert rows.state(task_id) == state

    eventually(look, timeout)


def starts(rows: Rows, name: str) -> None:
    def look() -> None:
        assert told(rows, f"{name} started") == 1

    eventually(look)


def test_a_row_put_in_by_hand_is_picked_up_within_a_second(database_url: str, rows: Rows) -> None:
    with worker(database_url):
        task_id = rows.task(metadata={"type": "SampleJob"})
        comes(rows, task_id, "finished", timeout=5)
        row = rows.one(task_id)
        assert (row.claimed_at - row.scheduled_at).total_seconds() < 1


def test_a_task_is_picked_up_when_it_falls_due(database_url: str, rows: Rows) -> None:
    with worker(database_url):
        task_id = rows.task(due_in=1.4)
        comes(rows, task_id, "finished")
        row = rows.one(task_id)
        late = (row.claimed_at - row.scheduled_at).total_seconds()
        assert 0 <= late < 0.5


def test_a_job_s_writes_and_its_completion_are_one(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    done = enqueue(connection, EffectJob(name="a", then="enqueue")).id
    failed = enqueue(connection, EffectJob(name="b", then="raise")).id
    committed = enqueue(connection, EffectJob(name="c", then="commit and raise")).id
    rolled_back = enqueue(connection, EffectJob(name="d", then="rollback")).id
    noted = enqueue(connection, EffectJob(name="e", then="enqueue and raise")).id
    aborted = enqueue(connection, EffectJob(name="f", then="abort")).id
    snoozed = enqueue(connection, EffectJob(name="g", then="snooze")).id
    with worker(database_url):
        comes(rows, done, "finished")
        comes(rows, rolled_back, "finished")
        for task_id in (failed, committed, noted, aborted):
            comes(rows, task_id, "retried")

        def put_off() -> None:
            assert rows.value("SELECT count(*) FROM spoils_attempts WHERE task_id = :id", id=snoozed) == 1

        eventually(put_off)
    assert rows.all("SELECT name FROM effects") == [("a",)]
    entered = rows.all(
        "SELECT metadata->>'number', priority FROM fang_tasks WHERE metadata->>'type' = 'SampleJob'"
    )
    assert entered == [("7", 1)]
    assert rows.one(snoozed).state == "new"


def test_sigterm_lets_a_short_job_end_and_exits_with_0(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, SleepJob(seconds=1.0)).id
    with worker(database_url) as program:
        starts(rows, "sleep")
        for _ in range(5):
            program.send(signal.SIGTERM)
        program.says("Worker pool stopping")
        late = enqueue(connection, SampleJob()).id
        assert program.ends() == 0
    assert rows.state(task_id) == "finished"
    assert rows.state(late) == "new"
    assert rows.all("SELECT ended_how FROM spoils_workers") == [("clean",)]


def test_sigterm_gives_back_a_job_that_is_too_long(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    plain = enqueue(connection, SleepJob(seconds=60)).id
    holding = enqueue(connection, HoldingJob(seconds=60)).id
    with worker(database_url, SPOILS_SHUTDOWN_SECONDS="0.5") as program:
        starts(rows, "sleep")
        starts(rows, "holding")
        program.send(signal.SIGTERM)
        assert program.ends(timeout=10) == 0
    for task_id in (plain, holding):
        row = rows.one(task_id)
        assert (row.state, row.retries, row.crashes, row.claimed_by) == ("new", 0, 0, None)
    assert told(rows, "holding effect") == 0
    outcomes = rows.all("SELECT DISTINCT outcome FROM spoils_attempts")
    assert outcomes == [("released",)]


def test_a_killed_worker_s_tasks_run_again_on_another(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    plain = enqueue(connection, SleepJob(seconds=2)).id
    holding = enqueue(connection, HoldingJob(seconds=2)).id
    with worker(database_url) as first:
        starts(rows, "sleep")
        starts(rows, "holding")
        # Before the other one is there: on a busy machine that takes longer than these jobs.
        first.process.kill()
        first.ends()
    with worker(database_url):
        comes(rows, plain, "finished", timeout=30)
        comes(rows, holding, "finished", timeout=30)
    for task_id in (plain, holding):
        row = rows.one(task_id)
        assert (row.attempts, row.crashes, row.retries) == (2, 1, 0)
    assert told(rows, "holding effect") == 1


def test_a_frozen_worker_that_wakes_up_too_late_writes_nothing_and_ends(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, HoldingJob(seconds=3)).id
    with worker(database_url) as zombie:
        starts(rows, "holding")
        zombie.send(signal.SIGSTOP)
        frozen = rows.value("SELECT claimed_by FROM fang_tasks WHERE id = :id", id=task_id)
        with worker(database_url):
            comes(rows, task_id, "finished", timeout=60)
            after = rows.one(task_id)
            zombie.send(signal.SIGCONT)
            assert zombie.ends() == 1
            assert rows.one(task_id) == after
    assert after.claimed_by != frozen
    assert told(rows, "holding effect") == 1


def test_a_job_that_kills_its_worker_is_failed_at_the_third_death(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, DieJob()).id
    neighbours = [enqueue(connection, SampleJob(number=number)).id for number in range(10)]
    for deaths in (1, 2, 3):
        with worker(database_url) as program:
            assert program.ends(timeout=60) == -signal.SIGKILL
        with worker(database_url, WORKER_TASK_TYPES="nothing"):

            def rescued(deaths: int = deaths) -> None:
                assert rows.one(task_id).crashes == deaths

            eventually(rescued, timeout=20)
    assert rows.state(task_id) == "failed"
    with worker(database_url):
        for neighbour in neighbours:
            comes(rows, neighbour, "finished")
    assert (
        rows.value(
            "SELECT count(*) FROM spoils_attempts WHERE outcome = 'crashed' AND task_id = :id", id=task_id
        )
        == 3
    )


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt: KeyboardInterrupt"),
        ("recursion", "RecursionError: maximum recursion depth exceeded"),
        ("nul", "ValueError: a\\x00b\\ud800c"),
        ("unprintable", "Unprintable: (its text could not be had: RuntimeError)"),
    ],
)
def test_whatever_a_job_raises_is_an_outcome(
    database_url: str, connection: Connection, rows: Rows, what: str, error: str
) -> None:
    task_id = enqueue(connection, RaisingJob(what=what)).id
    with worker(database_url, WORKER_THREADS="1"):
        comes(rows, task_id, "retried")
        assert rows.one(task_id).error_message.startswith(error)
        after = enqueue(connection, SampleJob()).id
        comes(rows, after, "finished")


def test_cancelling_a_running_job_reaches_it(database_url: str, connection: Connection, rows: Rows) -> None:
    task_id = enqueue(connection, StoppableJob()).id
    with worker(database_url):
        starts(rows, "stoppable")
        connection.execute(text("UPDATE fang_tasks SET cancel_requested_at = now()"))
        comes(rows, task_id, "failed")
        assert rows.one(task_id).error_message == "asked to stop"


def test_each_tick_is_entered_once_however_many_workers_run(database_url: str, rows: Rows) -> None:
    with worker(database_url), worker(database_url), worker(database_url):

        def ten() -> None:
            assert rows.value("SELECT count(*) FROM spoils_ticks") >= 8

        eventually(ten, timeout=30)
    ticks = rows.all("SELECT slot, task_id FROM spoils_ticks WHERE outcome = 'entered' ORDER BY slot")
    assert len({task_id for _, task_id in ticks}) == len(ticks)
    tasks = rows.value(
        f"SELECT count(*) FROM fang_tasks WHERE metadata->>'type' = '{EverySecondJob.__name__}'"
    )
    assert tasks == len(ticks)
    gaps = {(later - earlier).total_seconds() for (earlier, _), (later, _) in pairwise(ticks)}
    assert gaps == {1.0}


def test_a_worker_without_a_schema_says_what_to_do(empty_database_url: str) -> None:
    with Program("worker.py", DATABASE_URL=empty_database_url) as program:
        assert program.ends() == 2
    assert "python -m spoils migrate" in program.output


def test_a_wrong_setting_stops_the_worker_and_is_named(database_url: str) -> None:
    with Program("worker.py", DATABASE_URL=database_url, WORKER_THREADS="many") as program:
        assert program.ends() == 2
    assert program.output.startswith("WORKER_THREADS is wrong")
    assert "Traceback" not in program.output
