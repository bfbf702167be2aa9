"""A machine whose clock is wrong: only the database's decides."""

import pytest
from sqlalchemy import Connection

from tests.faults import invariants
from tests.faults.faketime import faked
from tests.faults.jobs import ChainJob
from tests.faults.workers import all_end, enqueue_all, workers_run
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.support import eventually

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "machine",
    [{"FAKETIME": "-3700", "TZ": "America/New_York"}, {"FAKETIME": "+3700", "TZ": "Australia/Lord_Howe"}],
    ids=lambda machine: machine["TZ"],
)
def test_a_worker_whose_clock_is_an_hour_off_works_by_the_database_s(
    database_url: str, connection: Connection, rows: Rows, library: str, machine: dict[str, str]
) -> None:
    wrong = {**machine, **faked(library)}
    with worker(database_url, **wrong) as program, worker(database_url):
        # It really is off, or this would prove nothing: its log has its own clock.
        now = rows.value("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24')")
        assert not program.lines[0].startswith(now)
        workers_run(rows, 2)
        accepted = enqueue_all(
            connection,
            # None of them sleeps: what the library makes of sleeping is no matter of ours.
            [SampleJob(number=one) for one in range(20)] + [ChainJob(number=one) for one in range(10)],
        )
        later = rows.task(due_in=2.5)
        far = rows.task(due_in=3600)
        all_end(rows, [*accepted, later], timeout=40)
        eventually(lambda: rows.value("SELECT count(*) FROM spoils_ticks") >= 3, 30)
    row = rows.one(later)
    assert 0 <= (row.claimed_at - row.scheduled_at).total_seconds() < 60
    assert rows.state(far) == "new"
    # Every moment in every table is the database's.
    wrongly = rows.value(
        """
        SELECT count(*) FROM (
            SELECT claimed_at AS at FROM fang_tasks UNION ALL SELECT updated_at FROM fang_tasks
            UNION ALL SELECT beat_at FROM spoils_workers UNION ALL SELECT started_at FROM spoils_workers
            UNION ALL SELECT ended_at FROM spoils_workers UNION ALL SELECT ended_at FROM spoils_attempts
            UNION ALL SELECT slot FROM spoils_ticks UNION ALL SELECT minute FROM spoils_minutes
        ) AS moments
        WHERE at NOT BETWEEN clock_timestamp() - interval '10 min' AND clock_timestamp() + interval '1 s'
        """
    )
    assert wrongly == 0
    assert invariants.declared_dead(rows) == []
    invariants.check(rows, [*accepted, later, far])
