"""A bulk action, performed by a real worker, and by the next one where the first is killed."""

from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.builtin.bulk import BulkJob
from spoils.db.engine import transaction
from spoils.models import TaskState
from spoils.queue import bulk
from spoils.queue.enqueue import enqueue
from spoils.queue.selection import Selection
from tests.programs import worker
from tests.rows import Rows
from tests.support import eventually

pytestmark = pytest.mark.process

MANY = 12_000


def begin(engine: Engine, rows: Rows) -> UUID:
    """Retry all failed tasks of a type that no worker here takes."""
    rows.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, state, task_type) "
            "SELECT '{\"type\": \"MailJob\"}', 'failed', 'mail' FROM generate_series(1, :many)"
        ),
        {"many": MANY},
    )
    selection = Selection(state=TaskState.FAILED, until=rows.value("SELECT clock_timestamp()"))
    with transaction(engine) as connection:
        bulk_id = bulk.begin(connection, "retry", selection, who="admin", expected=MANY)
        bulk.hand_over(connection, bulk_id, enqueue(connection, BulkJob(bulk_id=bulk_id), priority=2).id)
    return bulk_id


def test_a_worker_carries_it_out_and_another_one_goes_on_after_a_kill(
    database_url: str, engine: Engine, connection: Connection, rows: Rows
) -> None:
    bulk_id = begin(engine, rows)

    with worker(database_url) as first:
        eventually(lambda: rows.value("SELECT place FROM spoils_bulks WHERE id = :id", id=bulk_id) > 0, 30)
        first.process.kill()
        first.process.wait()
    with worker(database_url):
        state = "SELECT state::text FROM fang_tasks WHERE task_type = 'bulk'"
        eventually(lambda: rows.all(state) == [("finished",)], 60)
    assert rows.value("SELECT ended_at IS NOT NULL FROM spoils_bulks WHERE id = :id", id=bulk_id)
    assert rows.all("SELECT total, done, refused FROM spoils_bulks") == [(MANY, MANY, 0)]
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'new' AND task_type = 'mail'") == MANY
    assert rows.value("SELECT count(DISTINCT task_id) FROM spoils_audit WHERE done") == MANY
    assert rows.value("SELECT count(*) FROM spoils_audit WHERE task_id IS NOT NULL") == MANY
    assert rows.value("SELECT count(*) FROM spoils_bulk_items") == 0
