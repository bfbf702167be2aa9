"""Somebody's old transaction, which keeps every dead row of the table where it is."""

import pytest
from sqlalchemy import Connection, Engine, text

from tests.faults import invariants
from tests.faults.jobs import WorkJob
from tests.faults.workers import all_end, enqueue_all, workers_run
from tests.programs import worker
from tests.rows import Rows

pytestmark = pytest.mark.process

EACH = 400


def test_jobs_flow_on_while_somebody_holds_a_snapshot_open(
    database_url: str, engine: Engine, connection: Connection, rows: Rows, thorough: bool
) -> None:
    accepted = []
    with engine.connect() as somebody, worker(database_url) as program:
        workers_run(rows, 1)
        somebody = somebody.execution_options(isolation_level="REPEATABLE READ")
        with somebody.begin():
            seen = text("SELECT count(*) FROM fang_tasks WHERE task_type = 'work'")
            assert somebody.scalar(seen) == 0
            for number in range(150 if thorough else 4):
                batch = enqueue_all(
                    connection, [WorkJob(number=one, transactional=one % 20 == 0) for one in range(EACH)]
                )
                all_end(rows, batch, timeout=30)
                accepted += batch
                if number % 10 == 0:
                    delay = rows.value(
                        "SELECT max(extract(epoch FROM claimed_at - scheduled_at))::float FROM fang_tasks "
                        "WHERE id = ANY(:ids)",
                        ids=batch,
                    )
                    print(
                        f"{len(accepted)} jobs: of the last {EACH} each was claimed {delay:.2f} s after it was due"
                    )
            # Nothing of it all could be cleared away.
            assert somebody.scalar(seen) == 0
        assert program.process.poll() is None
    invariants.check(rows, accepted)
