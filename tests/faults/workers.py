"""What the fault suite does with worker processes, and what it waits for."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from spoils.job import Job
from spoils.queue.enqueue import enqueue
from tests.faults import invariants
from tests.faults.jobs import ChainJob, WorkJob
from tests.rows import Rows
from tests.support import eventually


def enqueue_all(connection: Connection, jobs: Collection[Job]) -> list[UUID]:
    return [enqueue(connection, job).id for job in jobs]


def work(number: int, seconds: float = 0.0, *, chains: int = 0, first: int = 0) -> list[Job]:
    """`number` jobs of `seconds`, every other one transactional, and `chains` that enqueue another one."""
    jobs = [WorkJob(number=one, seconds=seconds, transactional=one % 2 == 0) for one in range(number)]
    return [*jobs, *(ChainJob(number=first + one) for one in range(chains))]


def all_end(rows: Rows, task_ids: Collection[UUID], timeout: float = 30.0, state: str = "finished") -> None:
    """Wait until every one of these tasks is in that state."""
    eventually(lambda: invariants.all_ended(rows, task_ids, state), timeout)


def in_flight(rows: Rows, at_least: int) -> None:
    """Wait until this many tasks are in progress at once."""
    running = "SELECT count(*) FROM fang_tasks WHERE state = 'in_progress'"
    eventually(lambda: rows.value(running) >= at_least, 30)


def workers_run(rows: Rows, number: int) -> None:
    """Wait until this many workers have registered and send heartbeats."""
    live = (
        "SELECT count(*) FROM spoils_workers WHERE ended_at IS NULL "
        "AND beat_at > clock_timestamp() - interval '2 s'"
    )
    eventually(lambda: rows.value(live) >= number, 40)


def workers_live_on(rows: Rows) -> None:
    """Wait until every worker has sent heartbeats for longer than it takes to declare one dead."""
    since = rows.value("SELECT clock_timestamp()")
    later = "SELECT min(beat_at) > :since + interval '4 s' FROM spoils_workers WHERE ended_at IS NULL"
    eventually(lambda: bool(rows.value(later, since=since)), 20)


def held_by(rows: Rows, pid: int) -> list[UUID]:
    """The tasks in progress at the worker of that process."""
    held = rows.all(
        "SELECT task.id FROM fang_tasks AS task JOIN spoils_workers AS worker ON worker.id = task.claimed_by "
        "WHERE task.state = 'in_progress' AND worker.pid = :pid",
        pid=pid,
    )
    return [task_id for (task_id,) in held]


def claimed_again(rows: Rows, lost: list[UUID], since: datetime, timeout: float = 60.0) -> dict[UUID, float]:
    """Wait until every task of a dead worker was claimed again, and return the seconds that each waited.

    Without suspects, which wait until a process has nothing else to do, and tasks that ended at once.
    """

    def all_claimed() -> dict[UUID, float]:
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
        return {task_id: seconds for task_id, seconds, suspect in found if not suspect}

    return eventually(all_claimed, timeout)


def listening(rows: Rows) -> list[int]:
    """The backends in which workers listen and claim, by the last statement of each."""
    found = rows.all(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'spoils:%' "
        "AND query ~ '(LISTEN spoils_tasks|(EXECUTE|PREPARE) spoils_claim)'"
    )
    return [pid for (pid,) in found]


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
