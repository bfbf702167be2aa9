"""What an operator orders reaches a real worker: a paused type waits, and one that was asked to stop claims nothing."""

import pytest
from sqlalchemy import Connection, text

from spoils.models import PauseKind
from spoils.queue import pauses, worker_rows
from spoils.queue.enqueue import enqueue
from tests.process.waiting import comes
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import eventually

pytestmark = pytest.mark.process


def beats(rows: Rows, times: int) -> None:
    """Wait for so many beats of the one worker, by its row."""
    for _ in range(times):
        before = rows.all("SELECT beat_at FROM spoils_workers WHERE ended_at IS NULL")

        def beaten(before: list[tuple[object, ...]] = before) -> None:
            now = rows.all("SELECT beat_at FROM spoils_workers WHERE ended_at IS NULL")
            assert now
            assert now != before

        eventually(beaten)


def test_a_paused_type_waits_while_others_run(database_url: str, connection: Connection, rows: Rows) -> None:
    pauses.pause(connection, PauseKind.TASK_TYPE, SampleJob.task_type, by="admin")
    left = enqueue(connection, SampleJob()).id
    with worker(database_url):
        comes(rows, enqueue(connection, UniqueSampleJob()).id, "finished")
        beats(rows, 2)
        assert rows.one(left).attempts == 0
        pauses.resume(connection, PauseKind.TASK_TYPE, SampleJob.task_type)
        comes(rows, left, "finished")
        pauses.pause(connection, PauseKind.TASK_TYPE, SampleJob.task_type, by="admin")
        beats(rows, 3)
        later = enqueue(connection, SampleJob()).id
        comes(rows, enqueue(connection, UniqueSampleJob()).id, "finished")
        assert rows.one(later).attempts == 0


def test_a_worker_that_was_asked_to_stop_claims_nothing_and_stays(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with worker(database_url) as program:
        comes(rows, enqueue(connection, SampleJob()).id, "finished")
        worker_id = connection.execute(text("SELECT id FROM spoils_workers")).scalar_one()
        worker_rows.stop_claiming(connection, worker_id)
        beats(rows, 3)
        left = enqueue(connection, SampleJob()).id
        beats(rows, 2)
        assert rows.state(left) == "new"
        assert program.process.poll() is None
        worker_rows.claim_again(connection, worker_id)
        comes(rows, left, "finished")
