"""Connections that are ended, cut, dropped without a word, or partitioned away from everybody."""

import signal
from contextlib import ExitStack

import pytest
from sqlalchemy import Connection

from tests.faults import invariants
from tests.faults.jobs import WorkJob
from tests.faults.proxy import Proxy
from tests.faults.workers import all_end, enqueue_all, in_flight, listening, work, workers_run
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.support import eventually

pytestmark = pytest.mark.process


def test_a_worker_whose_connections_are_all_ended_again_and_again_loses_nothing_and_lives(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with worker(database_url, WORKER_THREADS="10") as program:
        workers_run(rows, 1)
        worker_id = rows.value("SELECT id FROM spoils_workers")
        accepted = []
        for _ in range(5):
            accepted += enqueue_all(connection, work(10, seconds=1))
            in_flight(rows, 1)
            rows.all(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name",
                name=f"spoils:{worker_id}",
            )
        all_end(rows, accepted, timeout=60)
        heartbeat = rows.value("SELECT beat_at FROM spoils_workers")
        eventually(lambda: rows.value("SELECT beat_at FROM spoils_workers") > heartbeat)
        all_end(rows, enqueue_all(connection, [SampleJob()]))
        assert program.process.poll() is None
    invariants.check(rows, accepted)
    assert invariants.declared_dead(rows) == []


def test_a_worker_is_notified_again_after_its_listening_connection_was_ended(
    database_url: str, rows: Rows
) -> None:
    with worker(database_url):
        workers_run(rows, 1)
        for _ in range(3):
            former = eventually(lambda: listening(rows)[0])
            rows.value("SELECT pg_terminate_backend(:pid)", pid=former)
            eventually(lambda former=former: listening(rows) not in ([], [former]))
            waits = []
            for _ in range(7):
                task_id = rows.task()
                all_end(rows, [task_id])
                row = rows.one(task_id)
                waits.append((row.claimed_at - row.created_at).total_seconds())
            # Sooner than polling would have found them, each a second after the one before.
            assert sorted(waits)[2] < 0.3, waits
    assert rows.all("SELECT count(*) FROM spoils_workers") == [(1,)]


def test_a_black_hole_is_noticed_and_the_worker_recovers_when_it_is_gone(
    proxy: Proxy, connection: Connection, rows: Rows
) -> None:
    with worker(proxy.url, WORKER_THREADS="4") as program:
        workers_run(rows, 1)
        accepted = enqueue_all(connection, work(8, seconds=3))
        in_flight(rows, 4)
        proxy.drop()
        program.says(r"Database unavailable \((presence|heartbeat|settler|dispatcher)\)", timeout=25)
        proxy.heal()
        all_end(rows, accepted, timeout=75)
        workers_run(rows, 1)
        assert program.process.poll() is None
    invariants.check(rows, accepted)
    assert invariants.declared_dead(rows) == []


def test_a_worker_stopped_in_a_black_hole_ends_in_time_and_another_takes_over(
    database_url: str, proxy: Proxy, connection: Connection, rows: Rows
) -> None:
    # The server does not notice that the worker is gone: its lock is held, so only its silence shows it.
    with worker(database_url, WORKER_TASK_TYPES="sample"):
        with worker(proxy.url, WORKER_THREADS="4", SPOILS_SHUTDOWN_SECONDS="2") as program:
            workers_run(rows, 2)
            accepted = enqueue_all(connection, [WorkJob(number=number, seconds=5) for number in range(4)])
            in_flight(rows, 4)
            proxy.drop()
            program.send(signal.SIGTERM)
            program.says("Worker pool stopping")
            program.ends(timeout=10)
        with worker(database_url):
            all_end(rows, accepted, timeout=60)
    invariants.check(rows, accepted)


def test_workers_that_were_all_cut_off_for_a_while_do_not_declare_each_other_dead(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(database_url)) for _ in range(3)]
        programs = [stack.enter_context(worker(proxy.url, WORKER_THREADS="2")) for proxy in proxies]
        workers_run(rows, 3)
        accepted = enqueue_all(connection, work(20, seconds=1))
        in_flight(rows, 3)
        for proxy in proxies:
            proxy.refuse()
            # One after the other, so that they do not try again in step.
            eventually(lambda proxy=proxy: proxy.refused > 2)
        # The pauses between two tries have grown by then.
        eventually(lambda: min(proxy.refused for proxy in proxies) > 12, 30)
        for proxy in proxies:
            proxy.heal()
        all_end(rows, accepted, timeout=60)
        workers_run(rows, 3)
        assert [program.process.poll() for program in programs] == [None, None, None]
    invariants.check(rows, accepted)
    assert invariants.declared_dead(rows) == []


def test_a_slow_network_delays_jobs_and_does_no_more(
    proxy: Proxy, connection: Connection, rows: Rows
) -> None:
    with worker(proxy.url) as program:
        workers_run(rows, 1)
        proxy.delay(0.4)
        accepted = enqueue_all(connection, work(10))
        all_end(rows, accepted, timeout=60)
        # Not by `attempts`: what was claimed ahead and waits too long is released, and is claimed once more.
        assert rows.all("SELECT DISTINCT retries, crashes FROM fang_tasks") == [(0, 0)]
    performed = [line for line in program.lines if "Processing WorkJob" in line]
    assert len(performed) == len(accepted)
    invariants.check(rows, accepted)
    assert invariants.declared_dead(rows) == []
