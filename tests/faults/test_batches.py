"""Batches and chains whose workers are killed: what follows comes exactly once, and every count is true."""

import random

import pytest
from sqlalchemy import Connection

from spoils.queue.batches import new_batch, new_chain, put_batch
from tests.faults.jobs import WorkJob
from tests.faults.test_kills import kill_one
from tests.faults.workers import in_flight, workers_run
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import AddingJob, ResultJob, SampleJob
from tests.support import eventually

pytestmark = pytest.mark.process

OPEN = "SELECT count(*) FROM spoils_batches WHERE ended_at IS NULL"


def test_then_comes_exactly_once_while_workers_are_killed(
    database_url: str, connection: Connection, rows: Rows, dice: random.Random, thorough: bool
) -> None:
    batches, members, kills = (100, 10_000, 20) if thorough else (6, 60, 3)
    for number in range(batches):
        batch = new_batch(then=SampleJob(number=number), name=str(number), on="end")
        for one in range(members):
            if one % 10 == 0:
                batch.enqueue(AddingJob(times=2, seconds=0.0 if thorough else 0.1))
            else:
                seconds = 0.0 if thorough else round(dice.uniform(0.3, 1.2), 2)
                batch.enqueue(WorkJob(number=one, seconds=seconds, transactional=one % 4 == 1))
        put_batch(connection, batch)
    for _ in range(batches):
        put_batch(
            connection, new_chain([ResultJob(value=one) for one in range(4)], name=None, at=None, priority=0)
        )
    with worker(database_url, WORKER_PROCESSES="3", WORKER_THREADS="4", SPOILS_DB_CONNECTIONS="7") as family:
        workers_run(rows, 3)
        for _ in range(kills):
            in_flight(rows, 8)
            kill_one(rows, dice)
            workers_run(rows, 2)
        eventually(lambda: rows.value(OPEN) == 0, 3600 if thorough else 90)
        family.stop()
    added = members // 10 * 2
    # Each batch once, with counts that are true of its rows.
    assert rows.all(
        "SELECT name, total, active, finished, failed, cancelled, "
        "(SELECT count(*) FROM fang_tasks WHERE batch_id = spoils_batches.id AND state = 'finished'), "
        "(SELECT count(*) FROM fang_tasks WHERE previous -> 'batch' ->> 'id' = spoils_batches.id::text) "
        "FROM spoils_batches WHERE links IS NULL ORDER BY name::int"
    ) == [
        (str(number), members + added, 0, members + added, 0, 0, members + added, 1)
        for number in range(batches)
    ]
    results = rows.all(
        "SELECT array_agg(coalesce((previous -> 'result')::int, -1) ORDER BY created_at, id) FROM fang_tasks "
        "WHERE batch_id IN (SELECT id FROM spoils_batches WHERE links IS NOT NULL) GROUP BY batch_id"
    )
    assert results == [([-1, 0, 1, 2],)] * batches
    assert rows.value("SELECT sum(crashes) FROM fang_tasks") >= kills
