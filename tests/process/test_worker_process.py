"""The worker as a real process: it works, drains, gives back, is rescued, and loses when it comes back too late."""

import os
import signal
import threading
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.queue.enqueue import enqueue
from tests.process.waiting import comes, starts, told
from tests.programs import Program, worker
from tests.rows import Rows
from tests.sample_jobs import (
    EFFECTS,
    DieJob,
    EffectJob,
    EverySecondJob,
    GateJob,
    HoldingJob,
    RaisingJob,
    SampleJob,
    SleepJob,
)
from tests.support import eventually

PRESENCE_SESSIONS = (
    "FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
    "WHERE locktype = 'advisory' AND objsubid = 1 AND datname = current_database()"
)
OPEN = text("INSERT INTO effects (name, task_id) VALUES ('open', :id)")
pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def effects(connection: Connection) -> None:
    connection.execute(text(EFFECTS))


def test_a_row_put_in_by_hand_is_picked_up_within_a_second(database_url: str, rows: Rows) -> None:
    with worker(database_url):
        # The quickest of several, as the machine may stall.
        assert min(waits(rows, rows.task()) for _ in range(4)) < 1


def test_a_task_is_picked_up_when_it_falls_due(database_url: str, rows: Rows) -> None:
    with worker(database_url):
        late = [waits(rows, rows.task(due_in=1.4)) for _ in range(3)]
        assert min(late) >= 0
        assert min(late) < 0.9


def test_what_a_worker_has_loaded_is_walked_by_no_collection(database_url: str, rows: Rows) -> None:
    """One that did would stop all threads for a tenth of a second."""
    task_id = rows.task(task_type="raising", metadata={"type": "RaisingJob", "what": "frozen"})
    with worker(database_url):
        comes(rows, task_id, "retried")
    assert int(rows.one(task_id).error_message.removeprefix("ValueError: ").split()[0]) > 50_000


def waits(rows: Rows, task_id: UUID) -> float:
    """The seconds from the moment at which it fell due to the one at which it was claimed."""
    comes(rows, task_id, "finished")
    row = rows.one(task_id)
    return float((row.claimed_at - row.scheduled_at).total_seconds())


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
    task_id = enqueue(connection, GateJob()).id
    with worker(database_url) as program:
        starts(rows, "gate")
        for _ in range(5):
            program.send(signal.SIGTERM)

        def drains() -> None:
            assert rows.value("SELECT draining FROM spoils_workers")

        eventually(drains)
        late = enqueue(connection, SampleJob()).id
        connection.execute(OPEN, {"id": task_id})
        assert program.ends() == 0
    assert rows.state(task_id) == "finished"
    assert rows.state(late) == "new"
    assert rows.all("SELECT ended_how FROM spoils_workers") == [("clean",)]


def test_signals_that_come_until_the_very_end_change_nothing(database_url: str, rows: Rows) -> None:
    with worker(database_url) as program:
        while program.process.poll() is None:
            program.send(signal.SIGTERM)
            threading.Event().wait(0.002)
        assert program.ends() == 0
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
    with worker(database_url) as first, worker(database_url) as second:
        plain = enqueue(connection, SleepJob(seconds=8, once=True)).id
        holding = enqueue(connection, HoldingJob(seconds=8, once=True)).id
        starts(rows, "sleep")
        starts(rows, "holding")
        owners = dict(
            rows.all("SELECT t.id, w.pid FROM spoils_workers w JOIN fang_tasks t ON t.claimed_by = w.id")
        )
        (first if first.process.pid == owners[holding] else second).process.kill()
        comes(rows, plain, "finished", timeout=30)
        comes(rows, holding, "finished", timeout=30)
    for task_id in (plain, holding):
        row = rows.one(task_id)
        died_with = owners[task_id] == owners[holding]
        assert (row.attempts, row.crashes, row.retries) == ((2, 1, 0) if died_with else (1, 0, 0))
    assert told(rows, "holding effect") == 1


def test_a_worker_process_that_is_killed_young_is_replaced_after_a_second_each_time(
    database_url: str, rows: Rows
) -> None:
    def attending() -> list[int]:
        found = rows.all(
            "SELECT pid FROM spoils_workers WHERE ended_at IS NULL AND beat_at > started_at + interval '0.5 s' "
            "AND beat_at > clock_timestamp() - interval '3 s' ORDER BY started_at"
        )
        return [pid for (pid,) in found if pid not in killed]

    def both_attend() -> int:
        assert len(attending()) == 2
        return attending()[-1]

    killed: list[int] = []
    with worker(database_url, WORKER_PROCESSES="2") as parent:
        for number in (1, 2, 3):
            killed.append(eventually(both_attend, timeout=40))
            os.kill(killed[-1], signal.SIGKILL)

            def replaced(number: int = number) -> None:
                assert parent.output.count("exited with code -9 and restarts in 1 s") == number

            eventually(replaced)
        parent.send(signal.SIGTERM)
        assert parent.ends() == 0


def test_a_child_ends_with_its_parent(database_url: str, rows: Rows) -> None:
    def left(number: int) -> None:
        assert rows.value("SELECT count(*) FROM spoils_workers WHERE ended_at IS NULL") == number

    with worker(database_url, WORKER_PROCESSES="2") as parent:
        eventually(lambda: left(2), timeout=40)
        parent.process.kill()
        eventually(lambda: left(0), timeout=20)
    assert rows.all("SELECT DISTINCT ended_how FROM spoils_workers") == [("clean",)]


def test_a_frozen_worker_that_wakes_up_too_late_writes_nothing_and_ends(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, HoldingJob(seconds=60, once=True)).id
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
    # It sees each of the others come: their deaths are told from a silence at once.
    with worker(database_url, WORKER_TASK_TYPES="stubborn"):
        for deaths in (1, 2, 3):
            with worker(database_url) as program:
                assert program.ends(timeout=60) == -signal.SIGKILL

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


def test_whatever_a_job_raises_is_an_outcome_and_ends_no_thread(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    raised = {
        "exit": "SystemExit: 3",
        "interrupt": "KeyboardInterrupt: KeyboardInterrupt",
        "recursion": "RecursionError: maximum recursion depth exceeded",
        "nul": "ValueError: a\\x00b\\ud800c",
        "unprintable": "Unprintable: (its text could not be had: RuntimeError)",
    }
    with worker(database_url, WORKER_THREADS="1"):
        for what, error in raised.items():
            task_id = enqueue(connection, RaisingJob(what=what)).id
            comes(rows, task_id, "retried")
            assert rows.one(task_id).error_message.startswith(error), what
            after = enqueue(connection, SampleJob()).id
            comes(rows, after, "finished")


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


def test_a_worker_whose_presence_connection_is_ended_stays_alive_and_keeps_its_jobs(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, SleepJob(seconds=6)).id
    with worker(database_url) as first, worker(database_url):
        starts(rows, "sleep")

        def both_attend() -> None:
            assert rows.value(f"SELECT count(*) {PRESENCE_SESSIONS}") == 2

        eventually(both_attend)
        rows.all(f"SELECT pg_terminate_backend(l.pid) {PRESENCE_SESSIONS}")
        comes(rows, task_id, "finished", timeout=20)
        assert first.process.poll() is None
        after = enqueue(connection, SampleJob()).id
        comes(rows, after, "finished")
    row = rows.one(task_id)
    assert (row.attempts, row.crashes) == (1, 0)


def test_a_locked_row_holds_up_neither_its_neighbours_nor_the_beat(
    database_url: str, connection: Connection, rows: Rows, engine: Engine
) -> None:
    locked = enqueue(connection, GateJob()).id
    with worker(database_url):
        starts(rows, "gate")
        with engine.connect() as other:
            other.execution_options(isolation_level="READ COMMITTED")
            with other.begin():
                other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": locked})
                connection.execute(OPEN, {"id": locked})

                def waits_for_it() -> None:
                    assert rows.value(
                        "SELECT count(*) FROM pg_stat_activity "
                        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
                    )

                eventually(waits_for_it)
                neighbour = enqueue(connection, SampleJob()).id
                comes(rows, neighbour, "finished", timeout=30)

                def beats() -> None:
                    assert rows.value("SELECT clock_timestamp() - beat_at < '3 s' FROM spoils_workers")

                eventually(beats)
                assert rows.state(locked) == "in_progress"
        comes(rows, locked, "finished")


def test_a_worker_ends_in_time_though_its_statements_hang(
    database_url: str, connection: Connection, rows: Rows, engine: Engine
) -> None:
    with worker(database_url, SPOILS_SHUTDOWN_SECONDS="1") as program, engine.connect() as other:
        other.execution_options(isolation_level="READ COMMITTED")
        with other.begin():
            other.execute(text("LOCK TABLE fang_tasks, spoils_workers"))
            program.send(signal.SIGTERM)
            program.ends(timeout=10)
