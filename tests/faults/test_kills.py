"""Processes that die, freeze or hold the interpreter, with many jobs in flight."""

import os
import random
import signal
from uuid import UUID

import pytest
from sqlalchemy import Connection

from spoils.queue.enqueue import enqueue
from tests.faults import invariants
from tests.faults.fleet import (
    all_end,
    attends,
    comes_true,
    enqueue_all,
    held_by,
    in_flight,
    kill_and_measure,
    percentile,
    worker,
)
from tests.faults.jobs import ChainJob, GilJob, GreedyJob, PoisonJob, SelfTermJob, WorkJob
from tests.rows import Rows
from tests.sample_jobs import SampleJob

pytestmark = pytest.mark.process

BUSY_OR_DONE = """
SELECT bool_or(state = 'in_progress') OR bool_and(state = 'finished')
FROM fang_tasks WHERE task_type <> 'every_second'
"""


def mixed(dice: random.Random, number: int, first: int = 0) -> list[WorkJob | ChainJob]:
    return [
        WorkJob(number=one, seconds=round(dice.uniform(0.5, 4), 2), transactional=dice.random() < 0.5)
        for one in range(number)
    ] + [ChainJob(number=first + one) for one in range(number // 10)]


def test_nothing_is_lost_or_done_twice_when_processes_are_killed_with_many_jobs_in_flight(
    database_url: str, connection: Connection, rows: Rows, dice: random.Random
) -> None:
    accepted: list[UUID] = []
    reruns: list[float] = []
    with worker(database_url, WORKER_PROCESSES="4", WORKER_THREADS="8", SPOILS_DB_CONNECTIONS="7") as family:
        attends(rows, 4)
        for _ in range(5):
            accepted += enqueue_all(connection, mixed(dice, 60, first=len(accepted)))
            in_flight(rows, 20)
            reruns += kill_and_measure(rows, dice)
            attends(rows, 3)
        all_end(rows, accepted, timeout=120)
        family.send(signal.SIGTERM)
        assert family.ends() == 0
    invariants.check(rows, accepted)
    print(f"kill to rerun: median {percentile(reruns, 50):.1f} s, longest {max(reruns):.1f} s")
    assert len(reruns) >= 5
    assert percentile(reruns, 50) < 8  # 5 by design; the machine is not ours alone
    assert rows.value("SELECT sum(crashes) FROM fang_tasks") >= len(reruns)


def test_workers_that_are_told_to_stop_at_random_give_back_or_finish_everything_uncounted(
    database_url: str, connection: Connection, rows: Rows, dice: random.Random
) -> None:
    accepted = enqueue_all(connection, mixed(dice, 60))
    rounds = 0
    while rows.value("SELECT count(*) FROM fang_tasks WHERE state <> 'finished'") and rounds < 6:
        rounds += 1
        with worker(
            database_url, WORKER_THREADS="10", SPOILS_SHUTDOWN_SECONDS=str(dice.choice([0, 0.3, 1]))
        ) as program:
            comes_true(lambda: rows.value(BUSY_OR_DONE))
            for _ in range(dice.randint(1, 5)):
                program.send(dice.choice([signal.SIGTERM, signal.SIGINT]))
            assert program.ends() == 0
        assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'in_progress'") == 0
    with worker(database_url, WORKER_THREADS="10"):
        all_end(rows, accepted, timeout=60)
    assert rows.value("SELECT max(crashes) + max(retries) FROM fang_tasks") == 0
    assert rows.all("SELECT DISTINCT ended_how FROM spoils_workers WHERE ended_at IS NOT NULL") == [
        ("clean",)
    ]
    invariants.check(rows, accepted)


def test_a_worker_hears_a_signal_that_another_of_its_threads_has_taken(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, SelfTermJob()).id
    with worker(database_url) as program:
        assert program.ends(timeout=20) == 0
    assert rows.state(task_id) == "finished"
    invariants.check(rows, [task_id])


def test_a_stopped_worker_claims_nothing_more(database_url: str, connection: Connection, rows: Rows) -> None:
    enqueue_all(connection, [WorkJob(number=number, seconds=0.4) for number in range(200)])
    with worker(database_url, WORKER_THREADS="5") as program:
        in_flight(rows, 5)
        program.send(signal.SIGTERM)
        program.says("Worker pool stopping")
        said_at = rows.value("SELECT clock_timestamp()")
        assert program.ends() == 0
    late = rows.value(
        # 0.5 s by design; the machine is not ours alone.
        "SELECT count(*) FROM audit WHERE becomes = 'in_progress' AND at > :said + interval '2 s'",
        said=said_at,
    )
    assert late == 0


def test_a_job_longer_than_any_lease_or_one_that_holds_the_interpreter_stays_its_worker_s(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    # A worker is dead after 3 s without a beat where its lock is free too: holding it is what this proves.
    deaf = enqueue(connection, GilJob(seconds=6)).id
    with (
        worker(database_url, WORKER_TASK_TYPES="gil,work") as program,
        worker(database_url, WORKER_TASK_TYPES="gil,work"),
    ):
        attends(rows, 2)
        long = enqueue(connection, WorkJob(number=1, seconds=8)).id
        all_end(rows, [deaf, long], timeout=40)
        assert program.process.poll() is None
    assert rows.value("SELECT max(attempts) FROM fang_tasks") == 1
    assert invariants.taken_for_dead(rows) == []
    # The beat did stand still for longer than 3 s, or this would prove nothing.
    ran = rows.value(
        "SELECT extract(epoch FROM updated_at - claimed_at)::float FROM fang_tasks WHERE id = :id", id=deaf
    )
    assert ran >= 6
    invariants.check(rows, [deaf, long])


@pytest.mark.parametrize("how", ["exit", "segfault", "kill"])
def test_a_job_that_ends_its_process_is_failed_at_the_third_death_and_twenty_neighbours_finish(
    database_url: str, connection: Connection, rows: Rows, how: str
) -> None:
    poison = enqueue(connection, PoisonJob(how=how)).id
    neighbours = enqueue_all(connection, [WorkJob(number=number, seconds=0.3) for number in range(20)])
    with worker(database_url, WORKER_PROCESSES="2", WORKER_THREADS="10") as family:
        all_end(rows, [poison], timeout=90, state="failed")
        all_end(rows, neighbours, timeout=90)
        family.send(signal.SIGTERM)
        assert family.ends() == 0
    row = rows.one(poison)
    assert (row.crashes, row.retries) == (3, 0)
    assert "died during three attempts" in row.error_message
    invariants.check(rows, [poison, *neighbours])


def test_a_job_that_takes_all_the_memory_it_may_is_recorded_and_neither_its_worker_nor_its_neighbours_end(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with worker(database_url, WORKER_THREADS="4") as program:
        attends(rows, 1)
        neighbours = enqueue_all(connection, [WorkJob(number=one, seconds=0.5) for one in range(12)])
        in_flight(rows, 1)
        greedy = enqueue(connection, GreedyJob(), priority=2).id
        all_end(rows, [greedy], timeout=40, state="failed")
        all_end(rows, neighbours, timeout=40)
        all_end(rows, enqueue_all(connection, [SampleJob()]), timeout=20)
        assert program.process.poll() is None
    assert rows.all("SELECT error_class, outcome FROM spoils_attempts") == [("MemoryError", "failed")]
    assert rows.value("SELECT max(attempts) FROM fang_tasks") == 1
    invariants.check(rows, [greedy, *neighbours])


def test_a_worker_that_is_frozen_for_a_while_is_left_alone_and_goes_on(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    accepted = enqueue_all(connection, [WorkJob(number=number, seconds=0.5) for number in range(30)])
    with worker(database_url, WORKER_THREADS="3") as frozen, worker(database_url, WORKER_THREADS="3"):
        attends(rows, 2)
        for _ in range(2):
            frozen.send(signal.SIGSTOP)
            # Beyond the 3 s after which a free lock would tell.
            rows.value("SELECT 1 FROM pg_sleep(5)")
            frozen.send(signal.SIGCONT)
            attends(rows, 2)
        all_end(rows, accepted, timeout=60)
        assert frozen.process.poll() is None
    assert rows.value("SELECT max(attempts) FROM fang_tasks") == 1
    assert invariants.taken_for_dead(rows) == []
    invariants.check(rows, accepted)


def test_ticks_are_entered_once_each_while_one_of_several_schedulers_is_frozen_and_another_killed(
    database_url: str, rows: Rows
) -> None:
    with (
        worker(database_url) as frozen,
        worker(database_url) as killed,
        worker(database_url),
        worker(database_url),
    ):
        attends(rows, 4)
        comes_true(lambda: rows.value("SELECT count(*) FROM spoils_ticks") >= 3)
        frozen.send(signal.SIGSTOP)
        comes_true(lambda: rows.value("SELECT count(*) FROM spoils_ticks") >= 7, timeout=60)
        os.kill(killed.process.pid, signal.SIGKILL)
        frozen.send(signal.SIGCONT)
        comes_true(lambda: rows.value("SELECT count(*) FROM spoils_ticks") >= 12)
        comes_true(lambda: not held_by(rows, killed.process.pid))
    told, between = rows.all(
        "SELECT count(*), extract(epoch FROM max(slot) - min(slot))::int + 1 FROM spoils_ticks"
    )[0]
    assert told == between  # none is left out
    made = rows.value("SELECT count(*) FROM fang_tasks WHERE metadata->>'type' = 'EverySecondJob'")
    assert made == rows.value("SELECT count(*) FROM spoils_ticks WHERE outcome = 'entered'")
    invariants.check(rows)


def test_twenty_innocents_survive_several_random_deaths_in_a_row(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    # Whoever was running at two deaths is performed alone from then on.
    accepted = enqueue_all(
        connection, [WorkJob(number=number, seconds=10, slow_attempts=2) for number in range(20)]
    )
    for _ in range(2):
        with worker(database_url, WORKER_THREADS="20") as program:
            comes_true(lambda program=program: len(held_by(rows, program.process.pid)) == 20, timeout=60)
            program.send(signal.SIGKILL)
            program.ends()
    with worker(database_url, WORKER_THREADS="20"):
        all_end(rows, accepted, timeout=90)
        all_end(rows, enqueue_all(connection, [SampleJob()]), timeout=10)
    assert rows.value("SELECT max(crashes) FROM fang_tasks WHERE task_type = 'work'") == 2
    invariants.check(rows, accepted)
