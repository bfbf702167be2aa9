"""Operators pause a type, and stop a worker from claiming: a real worker obeys."""

import pytest
from sqlalchemy import Connection, text

from spoils.models import PauseKind
from spoils.queue import pauses, worker_rows
from spoils.queue.enqueue import enqueue
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import eventually

pytestmark = pytest.mark.process


def heartbeats(rows: Rows, number: int) -> None:
    """Wait until the one worker has sent this many heartbeats."""
    heartbeat = "SELECT beat_at FROM spoils_workers WHERE ended_at IS NULL"
    for _ in range(number):
        before = rows.value(heartbeat)
        eventually(lambda before=before: rows.value(heartbeat) != before)


def test_a_paused_type_waits_while_others_run(database_url: str, connection: Connection, rows: Rows) -> None:
    pauses.pause(connection, PauseKind.TASK_TYPE, SampleJob.task_type, by="admin")
    left = enqueue(connection, SampleJob()).id
    with worker(database_url):
        rows.becomes(enqueue(connection, UniqueSampleJob()).id, "finished")
        heartbeats(rows, 2)
        assert rows.one(left).attempts == 0
        pauses.resume(connection, PauseKind.TASK_TYPE, SampleJob.task_type)
        rows.becomes(left, "finished")
        pauses.pause(connection, PauseKind.TASK_TYPE, SampleJob.task_type, by="admin")
        heartbeats(rows, 3)
        later = enqueue(connection, SampleJob()).id
        rows.becomes(enqueue(connection, UniqueSampleJob()).id, "finished")
        assert rows.one(later).attempts == 0


def test_a_worker_that_was_asked_to_stop_claims_nothing_and_stays(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with worker(database_url) as program:
        rows.becomes(enqueue(connection, SampleJob()).id, "finished")
        worker_id = connection.execute(text("SELECT id FROM spoils_workers")).scalar_one()
        worker_rows.stop_claiming(connection, worker_id)
        heartbeats(rows, 3)
        left = enqueue(connection, SampleJob()).id
        heartbeats(rows, 2)
        assert rows.state(left) == "new"
        assert program.process.poll() is None
        worker_rows.claim_again(connection, worker_id)
        rows.becomes(left, "finished")
