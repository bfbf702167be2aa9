"""Processes that die, freeze or hold the interpreter, with many jobs in flight."""

import os
import random
import signal
from uuid import UUID

import pytest
from sqlalchemy import Connection

from spoils.job import Job
from spoils.queue.enqueue import enqueue
from tests.faults import invariants
from tests.faults.jobs import ChainJob, GilJob, GreedyJob, PoisonJob, SelfTermJob, WorkJob
from tests.faults.workers import (
    all_end,
    claimed_again,
    enqueue_all,
    held_by,
    in_flight,
    percentile,
    sessions_of,
    workers_run,
)
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.support import eventually

pytestmark = pytest.mark.process


def mixed(dice: random.Random, number: int, first: int = 0) -> list[Job]:
    return [
        WorkJob(number=one, seconds=round(dice.uniform(0.2, 2), 2), transactional=dice.random() < 0.5)
        for one in range(number)
    ] + [ChainJob(number=first + one) for one in range(number // 10)]


def kill_one(rows: Rows, dice: random.Random) -> list[float]:
    """Kill a worker that holds tasks, and return the seconds until each of them was claimed again.

    Not one that performs a suspect, which would be condemned as it should be.
    """

    def holders() -> list[int]:
        found = rows.all(
            "SELECT worker.pid FROM spoils_workers AS worker JOIN fang_tasks AS task "
            "ON task.claimed_by = worker.id WHERE task.state = 'in_progress' AND worker.ended_at IS NULL "
            "AND worker.beat_at > clock_timestamp() - interval '2 s' "
            "GROUP BY worker.pid HAVING max(task.crashes) < 2 ORDER BY 1"
        )
        assert found
        return [pid for (pid,) in found]

    pid = dice.choice(eventually(holders, 60))
    killed_at = rows.value("SELECT clock_timestamp()")
    os.kill(pid, signal.SIGKILL)
    # What it held when it was dead, and not what it settled in the last moment.
    eventually(lambda: sessions_of(rows, pid) == 0)
    return [*claimed_again(rows, held_by(rows, pid), killed_at).values()]


def test_kills_with_many_jobs_in_flight_lose_nothing_and_repeat_no_effect(
    database_url: str, connection: Connection, rows: Rows, dice: random.Random
) -> None:
    accepted: list[UUID] = []
    reruns: list[float] = []
    with worker(database_url, WORKER_PROCESSES="4", WORKER_THREADS="8", SPOILS_DB_CONNECTIONS="7") as family:
        workers_run(rows, 4)
        for _ in range(3):
            accepted += enqueue_all(connection, mixed(dice, 60, first=len(accepted)))
            in_flight(rows, 20)
            reruns += kill_one(rows, dice)
            workers_run(rows, 3)
        all_end(rows, accepted, timeout=120)
        family.stop()
    invariants.check(rows, accepted)
    print(f"kill to rerun: median {percentile(reruns, 50):.1f} s, longest {max(reruns):.1f} s")
    assert len(reruns) >= 3
    assert percentile(reruns, 50) < 8  # 5 by design; the machine is not ours alone
    assert rows.value("SELECT sum(crashes) FROM fang_tasks") >= len(reruns)


def test_workers_stopped_at_random_moments_release_or_finish_every_job_uncounted(
    database_url: str, connection: Connection, rows: Rows, dice: random.Random
) -> None:
    accepted = enqueue_all(connection, mixed(dice, 40))
    busy_or_done = (
        "SELECT bool_or(state = 'in_progress') OR bool_and(state = 'finished') "
        "FROM fang_tasks WHERE task_type <> 'every_second'"
    )
    for _ in range(4):
        grace = str(dice.choice([0, 0.3, 1]))
        with worker(database_url, WORKER_THREADS="10", SPOILS_SHUTDOWN_SECONDS=grace) as program:
            eventually(lambda: bool(rows.value(busy_or_done)))
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


def test_a_signal_that_another_thread_receives_stops_the_worker(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    task_id = enqueue(connection, SelfTermJob()).id
    with worker(database_url) as program:
        assert program.ends(timeout=20) == 0
    assert rows.state(task_id) == "finished"
    invariants.check(rows, [task_id])


def test_a_stopping_worker_claims_nothing_more(database_url: str, connection: Connection, rows: Rows) -> None:
    enqueue_all(connection, [WorkJob(number=number, seconds=0.4) for number in range(200)])
    with worker(database_url, WORKER_THREADS="5") as program:
        in_flight(rows, 5)
        program.send(signal.SIGTERM)
        program.says("Worker pool stopping")
        stopping_at = rows.value("SELECT clock_timestamp()")
        assert program.ends() == 0
    late = rows.value(
        # 0.5 s by design; the machine is not ours alone.
        "SELECT count(*) FROM audit WHERE becomes = 'in_progress' AND at > :since + interval '2 s'",
        since=stopping_at,
    )
    assert late == 0


def test_a_long_job_and_one_that_holds_the_interpreter_keep_their_worker(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    # A worker is dead after 3 s without a heartbeat where its lock is free too: it must hold it.
    deaf = enqueue(connection, GilJob(seconds=5)).id
    types = "gil,work"
    with (
        worker(database_url, WORKER_TASK_TYPES=types) as program,
        worker(database_url, WORKER_TASK_TYPES=types),
    ):
        workers_run(rows, 2)
        long = enqueue(connection, WorkJob(number=1, seconds=5)).id
        all_end(rows, [deaf, long], timeout=40)
        assert program.process.poll() is None
    assert rows.value("SELECT max(attempts) FROM fang_tasks") == 1
    assert invariants.declared_dead(rows) == []
    # The heartbeat did stop for longer than 3 s, or this would prove nothing.
    ran = rows.value(
        "SELECT extract(epoch FROM updated_at - claimed_at)::float FROM fang_tasks WHERE id = :id", id=deaf
    )
    assert ran >= 5
    invariants.check(rows, [deaf, long])


def test_jobs_that_end_their_process_fail_at_the_third_death_and_their_neighbours_finish(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    poisons = enqueue_all(connection, [PoisonJob(how=how) for how in ("exit", "segfault", "kill")])
    neighbours = enqueue_all(connection, [WorkJob(number=number, seconds=0.3) for number in range(20)])
    with worker(database_url, WORKER_PROCESSES="2", WORKER_THREADS="10") as family:
        all_end(rows, poisons, timeout=120, state="failed")
        all_end(rows, neighbours, timeout=90)
        family.stop()
    for poison in poisons:
        row = rows.one(poison)
        assert (row.crashes, row.retries) == (3, 0)
        assert "three attempts" in row.error_message
    deaths = rows.all(
        "SELECT DISTINCT count(*) FROM spoils_attempts WHERE outcome = 'crashed' AND task_id = ANY(:ids) "
        "GROUP BY task_id",
        ids=poisons,
    )
    assert deaths == [(3,)]
    invariants.check(rows, [*poisons, *neighbours])


def test_a_job_that_takes_all_its_memory_fails_and_neither_its_worker_nor_its_neighbours_end(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with worker(database_url, WORKER_THREADS="4") as program:
        workers_run(rows, 1)
        neighbours = enqueue_all(connection, [WorkJob(number=one, seconds=0.5) for one in range(12)])
        in_flight(rows, 1)
        greedy = enqueue(connection, GreedyJob(), priority=2).id
        all_end(rows, [greedy], timeout=40, state="failed")
        all_end(rows, neighbours, timeout=40)
        all_end(rows, enqueue_all(connection, [SampleJob()]))
        assert program.process.poll() is None
    assert rows.all("SELECT error_class, outcome FROM spoils_attempts") == [("MemoryError", "failed")]
    assert rows.value("SELECT max(attempts) FROM fang_tasks") == 1
    invariants.check(rows, [greedy, *neighbours])


def test_a_worker_frozen_for_a_while_keeps_its_jobs_and_continues(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    accepted = enqueue_all(connection, [WorkJob(number=number, seconds=0.5) for number in range(30)])
    silent = "SELECT max(clock_timestamp() - beat_at) > '4 s' FROM spoils_workers WHERE ended_at IS NULL"
    with worker(database_url, WORKER_THREADS="3") as frozen, worker(database_url, WORKER_THREADS="3"):
        for _ in range(2):
            workers_run(rows, 2)
            frozen.send(signal.SIGSTOP)
            # Beyond the 3 s after which it would be dead, were its lock free.
            eventually(lambda: bool(rows.value(silent)))
            frozen.send(signal.SIGCONT)
        workers_run(rows, 2)
        all_end(rows, accepted, timeout=60)
        assert frozen.process.poll() is None
    assert rows.value("SELECT max(attempts) FROM fang_tasks") == 1
    assert invariants.declared_dead(rows) == []
    invariants.check(rows, accepted)


def test_each_tick_is_enqueued_once_while_one_of_several_schedulers_is_frozen_and_another_killed(
    database_url: str, rows: Rows
) -> None:
    def ticks(number: int) -> None:
        eventually(lambda: rows.value("SELECT count(*) FROM spoils_ticks") >= number, 60)

    with worker(database_url) as frozen, worker(database_url) as killed, worker(database_url):
        workers_run(rows, 3)
        ticks(2)
        frozen.send(signal.SIGSTOP)
        ticks(5)
        killed.send(signal.SIGKILL)
        frozen.send(signal.SIGCONT)
        ticks(9)
        eventually(lambda: held_by(rows, killed.process.pid) == [])
    ticked, between = rows.all(
        "SELECT count(*), extract(epoch FROM max(slot) - min(slot))::int + 1 FROM spoils_ticks"
    )[0]
    assert ticked == between  # none is left out
    made = rows.value("SELECT count(*) FROM fang_tasks WHERE metadata->>'type' = 'EverySecondJob'")
    assert made == rows.value("SELECT count(*) FROM spoils_ticks WHERE outcome = 'entered'")
    invariants.check(rows)


def test_twenty_innocent_jobs_survive_two_deaths_of_their_workers(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    # What was running at two deaths is performed alone from then on.
    accepted = enqueue_all(
        connection, [WorkJob(number=number, seconds=20, slow_crashes=2) for number in range(20)]
    )
    crashes = "SELECT {}(crashes) FROM fang_tasks WHERE task_type = 'work'"
    # It sees each of the others start, and so declares them dead as soon as their locks are free.
    with worker(database_url, WORKER_TASK_TYPES="sample"):
        for deaths in (1, 2):
            with worker(database_url, WORKER_THREADS="20", WORKER_TASK_TYPES="work") as program:
                eventually(lambda program=program: len(held_by(rows, program.process.pid)) == 20, 60)
                workers_run(rows, 2)
                program.send(signal.SIGKILL)
                program.ends()
            eventually(lambda deaths=deaths: rows.value(crashes.format("min")) == deaths, 40)
        with worker(database_url, WORKER_THREADS="20"):
            all_end(rows, accepted, timeout=90)
            all_end(rows, enqueue_all(connection, [SampleJob()]))
    assert rows.value(crashes.format("max")) == 2
    invariants.check(rows, accepted)
