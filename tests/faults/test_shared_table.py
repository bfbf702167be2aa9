"""A table shared with Rust workers, where a unique job may be put in while its duplicate runs."""

import signal
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine

from spoils.db import sharing
from spoils.db.engine import transaction
from spoils.queue.enqueue import enqueue
from tests.faults import invariants
from tests.faults.jobs import UniqueTroubleJob
from tests.faults.workers import all_end, held_by, workers_run
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.support import eventually

pytestmark = pytest.mark.process

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(autouse=True)
def shared(engine: Engine) -> None:
    """The table as `migrate` leaves it with SPOILS_SHARED_WITH_FANG."""
    with transaction(engine) as connection:
        sharing.begin(connection)


def duplicates(connection: Connection, rows: Rows, job: UniqueTroubleJob, pid: int) -> tuple[UUID, UUID]:
    """A task that runs, and its duplicate that waits."""
    runs = enqueue(connection, job).id
    eventually(lambda: held_by(rows, pid) == [runs])
    waits = enqueue(connection, job, at=LATER)
    assert not waits.duplicate
    return runs, waits.id


def test_a_task_that_failed_goes_back_though_its_duplicate_waits(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with worker(database_url) as program:
        runs, waits = duplicates(
            connection, rows, UniqueTroubleJob(number=1, milliseconds=1500), program.process.pid
        )
        all_end(rows, [runs], timeout=20, state="retried")
        neighbour = enqueue(connection, SampleJob()).id
        all_end(rows, [neighbour], timeout=10)
        assert "UniqueViolation" not in program.output
    assert rows.state(waits) == "new"
    assert rows.one(waits).uniq_hash is not None
    invariants.check(rows, [runs, waits])


def test_a_task_whose_worker_died_or_stopped_goes_back_though_its_duplicate_waits(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    job = UniqueTroubleJob(number=1, milliseconds=60_000)
    # The first sees the second start, and so declares it dead as soon as its lock is free.
    with worker(database_url, WORKER_TASK_TYPES="sample"):
        with worker(database_url) as program:
            runs, waits = duplicates(connection, rows, job, program.process.pid)
            workers_run(rows, 2)
            program.send(signal.SIGKILL)
            program.ends()
        with worker(database_url, SPOILS_SHUTDOWN_SECONDS="0.2") as program:
            eventually(lambda: held_by(rows, program.process.pid) == [runs], 60)
            program.stop()
    row = rows.one(runs)
    assert (row.state, row.crashes, row.attempts) == ("new", 1, 2)
    assert rows.state(waits) == "new"
    invariants.check(rows, [runs, waits])


def test_a_class_that_a_worker_lacks_is_left_to_the_rust_workers(database_url: str, rows: Rows) -> None:
    # By the claim of what waits, by that of isolated tasks, and after a notification.
    strange = [rows.task(metadata={"type": "OfRust"}, **one) for one in ({"priority": 2}, {"crashes": 2})]
    with worker(database_url, SPOILS_SHARED_WITH_FANG="1"):
        all_end(rows, [rows.task()], timeout=20)
        strange.append(rows.task(metadata={"type": "OfRust"}))
        all_end(rows, [rows.task()], timeout=20)
    assert {(rows.state(one), rows.one(one).attempts) for one in strange} == {("new", 0)}
