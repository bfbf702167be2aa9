"""Worker processes of the fault suite, and what is waited for among them."""

import os
import random
import signal
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from spoils.job import Job
from spoils.queue.enqueue import enqueue
from tests.faults import invariants
from tests.programs import Program
from tests.rows import Rows
from tests.support import eventually

PROGRAM = "tests/faults/worker_program.py"


def start(database_url: str, **environment: str) -> Program:
    """Start a worker, and do not wait for it."""
    return Program(PROGRAM, DATABASE_URL=database_url, **environment)


def worker(database_url: str, **environment: str) -> Program:
    """Start a worker, and wait until it is at work."""
    program = start(database_url, **environment)
    program.says("Worker pool started", timeout=40)
    return program


def enqueue_all(connection: Connection, jobs: Collection[Job]) -> list[UUID]:
    return [enqueue(connection, job).id for job in jobs]


def all_end(rows: Rows, task_ids: Collection[UUID], timeout: float, state: str = "finished") -> None:
    """Wait until every task has come to its end."""
    eventually(lambda: invariants.all_ended(rows, task_ids, state), timeout)


def in_flight(rows: Rows, at_least: int, timeout: float = 30.0) -> None:
    """Wait until so many tasks are in progress at once."""

    def look() -> None:
        assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'in_progress'") >= at_least

    eventually(look, timeout)


def comes_true(question: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait until `question` answers with something true."""

    def look() -> None:
        assert question()

    eventually(look, timeout)


def attends(rows: Rows, workers: int, timeout: float = 40.0) -> None:
    """Wait until so many workers have entered, and beat."""
    comes_true(
        lambda: (
            rows.value(
                "SELECT count(*) FROM spoils_workers WHERE ended_at IS NULL "
                "AND beat_at > clock_timestamp() - interval '2 s'"
            )
            >= workers
        ),
        timeout,
    )


def held_by(rows: Rows, pid: int) -> list[UUID]:
    """The tasks in progress at the worker of that process."""
    return [
        task_id
        for (task_id,) in rows.all(
            "SELECT task.id FROM fang_tasks AS task JOIN spoils_workers AS worker ON worker.id = task.claimed_by "
            "WHERE task.state = 'in_progress' AND worker.pid = :pid",
            pid=pid,
        )
    ]


def kill_and_measure(rows: Rows, dice: random.Random, timeout: float = 60.0) -> list[float]:
    """Kill a worker that holds tasks, and return for each the seconds until it was claimed again, by the database.

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

    pid = dice.choice(eventually(holders, timeout))
    killed_at = rows.value("SELECT clock_timestamp()")
    os.kill(pid, signal.SIGKILL)
    # What it held when it was dead, and not what it settled in the last moment.
    comes_true(lambda: not sessions_of(rows, pid))
    return rerun_of(rows, held_by(rows, pid), killed_at, timeout)


def rerun_of(rows: Rows, lost: list[UUID], since: datetime, timeout: float = 60.0) -> list[float]:
    """Wait until every task of a dead worker was claimed again, and return the seconds that each waited.

    Not measured is a suspect, which waits until a process has nothing else in its hands, and what ended at once.
    """

    def claimed_again() -> list[float]:
        found = rows.all(
            "SELECT task_id, extract(epoch FROM min(at) - :since)::float, bool_or(task.crashes >= 2) "
            "FROM audit LEFT JOIN fang_tasks AS task ON task.id = task_id "
            "WHERE task_id = ANY(:ids) AND becomes = 'in_progress' AND at > :since GROUP BY task_id",
            since=since,
            ids=lost,
        )
        excused = rows.value(
            "SELECT count(*) FROM fang_tasks WHERE id = ANY(:ids) AND id <> ALL(:found) "
            "AND (state IN ('finished', 'failed') OR crashes >= 2 AND state IN ('new', 'retried'))",
            ids=lost,
            found=[task_id for task_id, _, _ in found],
        )
        assert len(found) + excused >= len(lost)
        return [seconds for _, seconds, suspect in found if not suspect]

    return eventually(claimed_again, timeout)


def listening(rows: Rows) -> list[int]:
    """The backends in which workers listen and claim, as the last statement of each tells."""
    return [
        pid
        for (pid,) in rows.all(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'spoils:%' "
            "AND query ~ '(LISTEN spoils_tasks|(EXECUTE|PREPARE) spoils_claim)'"
        )
    ]


def sessions_of(rows: Rows, pid: int) -> int:
    """How many database sessions the worker of that process has."""
    return int(
        rows.value(
            "SELECT count(*) FROM pg_stat_activity AS session JOIN spoils_workers AS worker "
            "ON session.application_name = 'spoils:' || worker.id WHERE worker.pid = :pid",
            pid=pid,
        )
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]
