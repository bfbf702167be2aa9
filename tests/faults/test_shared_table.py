"""A table shared with Rust workers, where a unique job may be put in while its twin runs."""

import signal
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from spoils.queue.enqueue import enqueue
from tests.faults import invariants
from tests.faults.fleet import all_end, comes_true, held_by, worker
from tests.faults.jobs import UniqueTroubleJob
from tests.rows import Rows
from tests.sample_jobs import SampleJob

pytestmark = pytest.mark.process

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(autouse=True)
def shared(connection: Connection) -> None:
    """The index as the migration makes it with SPOILS_SHARED_WITH_FANG."""
    connection.execute(text("DROP INDEX fang_tasks_active_hash_idx"))
    connection.execute(
        text(
            "CREATE UNIQUE INDEX fang_tasks_active_hash_idx ON fang_tasks (uniq_hash) "
            "WHERE state IN ('new', 'retried')"
        )
    )


def twins(connection: Connection, rows: Rows, job: UniqueTroubleJob, pid: int) -> tuple[UUID, UUID]:
    """A task that runs, and its twin that waits."""
    runs = enqueue(connection, job).id
    comes_true(lambda: held_by(rows, pid) == [runs])
    waits = enqueue(connection, job, at=LATER)
    assert not waits.duplicate
    return runs, waits.id


def test_a_task_that_failed_goes_back_though_its_twin_waits(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with worker(database_url) as program:
        runs, waits = twins(
            connection, rows, UniqueTroubleJob(number=1, milliseconds=6000), program.process.pid
        )
        all_end(rows, [runs], timeout=20, state="retried")
        neighbour = enqueue(connection, SampleJob()).id
        all_end(rows, [neighbour], timeout=10)
        assert "UniqueViolation" not in program.output
    assert rows.state(waits) == "new"
    assert rows.one(waits).uniq_hash is not None
    invariants.check(rows, [runs, waits])


def test_a_task_whose_worker_died_or_stopped_goes_back_though_its_twin_waits(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    job = UniqueTroubleJob(number=1, milliseconds=60_000)
    with worker(database_url) as program:
        runs, waits = twins(connection, rows, job, program.process.pid)
        program.send(signal.SIGKILL)
        program.ends()
    with worker(database_url, SPOILS_SHUTDOWN_SECONDS="0.2") as program:
        comes_true(lambda: held_by(rows, program.process.pid) == [runs])
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    row = rows.one(runs)
    assert (row.state, row.crashes, row.attempts) == ("new", 1, 2)
    assert rows.state(waits) == "new"
    invariants.check(rows, [runs, waits])
