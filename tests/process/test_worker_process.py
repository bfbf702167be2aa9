"""The worker as a real process: it works, drains, gives back, is rescued, and loses when it comes back too late."""

import os
import signal
import threading
from uuid import UUID

import pytest
import requests
from sqlalchemy import Connection, Engine, text

from spoils.queue.enqueue import enqueue
from tests.faults.workers import all_end, enqueue_all
from tests.programs import free_port, start_worker, worker
from tests.rows import Rows
from tests.sample_jobs import (
    EffectJob,
    GateJob,
    HoldingJob,
    KilledStepsJob,
    RaisingJob,
    SampleJob,
    SleepJob,
)
from tests.support import eventually

OPEN = text("INSERT INTO effects (name, task_id) VALUES ('open', :id)")
pytestmark = pytest.mark.process


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
        rows.becomes(task_id, "retried")
    assert int(rows.one(task_id).error_message.removeprefix("ValueError: ").split()[0]) > 50_000


def waits(rows: Rows, task_id: UUID) -> float:
    """The seconds from the moment at which it fell due to the one at which it was claimed."""
    rows.becomes(task_id, "finished")
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
        rows.becomes(done, "finished")
        rows.becomes(rolled_back, "finished")
        for task_id in (failed, committed, noted, aborted):
            rows.becomes(task_id, "retried")
        attempts = "SELECT count(*) FROM spoils_attempts WHERE task_id = :id"
        eventually(lambda: rows.value(attempts, id=snoozed) == 1)
    assert rows.all("SELECT name FROM effects") == [("a",)]
    entered = rows.all(
        "SELECT metadata->>'number', priority FROM fang_tasks WHERE metadata->>'type' = 'SampleJob'"
    )
    assert entered == [("7", 1)]
    assert rows.one(snoozed).state == "new"


def test_each_step_of_a_job_whose_worker_is_killed_is_done_once(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, KilledStepsJob()).id
    with worker(database_url, WORKER_PROCESSES="2"):
        row = rows.becomes(task_id, "finished", timeout=60)
    assert (row.result, row.crashes) == (3, 2)
    assert [rows.effects(f"step {number}") for number in range(3)] == [1, 1, 1]
    assert rows.all("SELECT name, attempt FROM spoils_steps ORDER BY name") == [
        ("step 0", 1),
        ("step 1", 2),
        ("step 2", 3),
    ]


def test_sigterm_lets_a_short_job_end_and_exits_with_0(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, GateJob()).id
    with worker(database_url) as program:
        rows.effect("gate started")
        for _ in range(5):
            program.send(signal.SIGTERM)
        eventually(lambda: rows.value("SELECT draining FROM spoils_workers"))
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
        rows.effect("sleep started")
        rows.effect("holding started")
        program.send(signal.SIGTERM)
        assert program.ends(timeout=10) == 0
    for task_id in (plain, holding):
        row = rows.one(task_id)
        assert (row.state, row.retries, row.crashes, row.claimed_by) == ("new", 0, 0, None)
    assert rows.effects("holding effect") == 0
    outcomes = rows.all("SELECT DISTINCT outcome FROM spoils_attempts")
    assert outcomes == [("released",)]


def test_a_worker_process_that_is_killed_young_is_replaced_after_a_second_each_time(
    database_url: str, rows: Rows
) -> None:
    def running() -> list[int]:
        found = rows.all(
            "SELECT pid FROM spoils_workers WHERE ended_at IS NULL AND beat_at > started_at + interval '0.5 s' "
            "AND beat_at > clock_timestamp() - interval '3 s' ORDER BY started_at"
        )
        return [pid for (pid,) in found if pid not in killed]

    def both_run() -> int:
        assert len(running()) == 2
        return running()[-1]

    killed: list[int] = []
    restarted = "exited with code -9 and restarts in 1 s"
    with worker(database_url, WORKER_PROCESSES="2") as parent:
        for number in (1, 2):
            killed.append(eventually(both_run, timeout=40))
            os.kill(killed[-1], signal.SIGKILL)
            eventually(lambda number=number: parent.output.count(restarted) == number)
        eventually(both_run, 40)
        # A rescue ends the rows of the killed ones: until then they are not on record as killed.
        eventually(
            lambda: rows.value("SELECT count(*) FROM spoils_workers WHERE ended_how = 'killed'") == 2, 40
        )
        parent.stop()
    ends = rows.all("SELECT ended_how, count(*) FROM spoils_workers GROUP BY 1 ORDER BY 1")
    assert ends == [("clean", 2), ("killed", 2)]


@pytest.mark.parametrize(
    "limit", [{"WORKER_JOBS_MAX": "10"}, {"WORKER_MB_MAX": "64"}], ids=["jobs", "memory"]
)
def test_a_worker_that_reached_its_limit_ends_its_jobs_while_the_next_one_works(
    database_url: str, connection: Connection, rows: Rows, limit: dict[str, str]
) -> None:
    ended = "SELECT count(*) FROM spoils_workers WHERE ended_how = 'recycled'"
    with worker(database_url, **limit) as parent:
        long = enqueue(connection, SleepJob(seconds=8)).id
        rows.effect("sleep started")
        all_end(rows, enqueue_all(connection, [SampleJob(number=number) for number in range(30)]), timeout=40)
        eventually(lambda: "is recycled" in parent.output, 20)
        all_end(rows, enqueue_all(connection, [SampleJob(number=number) for number in range(5)]), timeout=40)
        assert rows.one(long).attempts == 1
        eventually(lambda: rows.state(long) == "finished", 20)
        eventually(lambda: rows.value(ended) >= 1, 20)
        parent.stop()
    assert "exited with code" not in parent.output
    assert rows.all("SELECT DISTINCT outcome FROM spoils_attempts") == []  # nothing was given back or rescued
    assert rows.value("SELECT count(*) FROM spoils_workers WHERE ended_how = 'killed'") == 0


@pytest.mark.parametrize("processes", ["1", "2"])
def test_probes_say_when_the_worker_program_is_ready(database_url: str, rows: Rows, processes: str) -> None:
    def status(path: str) -> int:
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code

    port = free_port()
    with worker(database_url, WORKER_PROCESSES=processes, SPOILS_PROBE_PORT=str(port)) as program:
        eventually(lambda: status("/readyz") == 200, 40)
        assert (status("/livez"), status("/other")) == (200, 404)
        if processes == "2":
            os.kill(
                rows.value("SELECT pid FROM spoils_workers WHERE ended_at IS NULL LIMIT 1"), signal.SIGKILL
            )
            eventually(lambda: status("/readyz") == 503, 20)
            eventually(lambda: status("/readyz") == 200, 40)
        with start_worker(database_url, SPOILS_PROBE_PORT=str(port)) as second:
            assert second.ends(timeout=20) == 2
            assert f"SPOILS_PROBE_PORT={port} cannot be listened on" in second.output
        program.stop()


def test_a_child_ends_with_its_parent(database_url: str, rows: Rows) -> None:
    live = "SELECT count(*) FROM spoils_workers WHERE ended_at IS NULL"
    with worker(database_url, WORKER_PROCESSES="2") as parent:
        eventually(lambda: rows.value(live) == 2, timeout=40)
        parent.process.kill()
        eventually(lambda: rows.value(live) == 0, timeout=20)
    assert rows.all("SELECT DISTINCT ended_how FROM spoils_workers") == [("clean",)]


def test_a_frozen_worker_that_wakes_up_too_late_writes_nothing_and_ends(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, HoldingJob(seconds=60, once=True)).id
    with worker(database_url) as zombie:
        rows.effect("holding started")
        zombie.send(signal.SIGSTOP)
        frozen = rows.value("SELECT claimed_by FROM fang_tasks WHERE id = :id", id=task_id)
        with worker(database_url):
            rows.becomes(task_id, "finished", timeout=60)
            after = rows.one(task_id)
            zombie.send(signal.SIGCONT)
            assert zombie.ends() == 1
            assert rows.one(task_id) == after
    assert after.claimed_by != frozen
    assert rows.effects("holding effect") == 1


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
            rows.becomes(task_id, "retried")
            assert rows.one(task_id).error_message.startswith(error), what
            after = enqueue(connection, SampleJob()).id
            rows.becomes(after, "finished")


def test_a_worker_ends_in_time_though_its_statements_hang(
    database_url: str, connection: Connection, rows: Rows, engine: Engine
) -> None:
    with worker(database_url, SPOILS_SHUTDOWN_SECONDS="1") as program, engine.connect() as other:
        other.execution_options(isolation_level="READ COMMITTED")
        with other.begin():
            other.execute(text("LOCK TABLE fang_tasks, spoils_workers"))
            program.send(signal.SIGTERM)
            program.ends(timeout=10)
