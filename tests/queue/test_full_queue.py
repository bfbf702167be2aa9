"""The server's queue of notifications is full, since a session that listens never ends its transaction."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import psycopg2
import pytest
from sqlalchemy import Connection

from spoils.cli.composition import FOOD_TABLES
from spoils.db.embedded import EmbeddedPostgres
from spoils.db.engine import make_engine
from spoils.db.migrate import migrate
from spoils.queue.actions import act
from spoils.queue.enqueue import enqueue
from spoils.queue.enqueue_many import enqueue_many
from spoils.queue.release import release
from spoils.queue.rescue import rescue
from tests.queue.hands import take
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob


@pytest.fixture(scope="module")
def full_url() -> Iterator[str]:
    """The URL of a migrated database on a server with the smallest such queue, which is full."""
    with tempfile.TemporaryDirectory(prefix="spoils-tests-") as home:
        # Before version 17 its size is fixed, and too large to be filled.
        smallest = {"fsync": "off", "max_notify_queue_pages": "64"}
        server = EmbeddedPostgres(Path(home), version=18, settings=smallest)
        try:
            url = server.start()
            engine = make_engine(url, connections=1, application_name="tests")
            migrate(engine, branches=[FOOD_TABLES])
            engine.dispose()
            listener = psycopg2.connect(url)
            listener.cursor().execute("LISTEN other")
            listener.commit()
            listener.cursor().execute("SELECT 1")
            fill(url)
            yield url
            listener.close()
        finally:
            server.remove()


def fill(url: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    # Each in a transaction of its own.
    one_by_one = (
        "DO $$ BEGIN FOR number IN 1..1000 LOOP "
        "PERFORM pg_notify('other', repeat('x', 7000) || number); COMMIT; END LOOP; END $$"
    )
    with connection.cursor() as cursor, pytest.raises(psycopg2.OperationalError, match="too many"):
        cursor.execute(one_by_one)
    connection.close()


@pytest.fixture
def connection(full_url: str) -> Iterator[Connection]:
    engine = make_engine(full_url, connections=1, application_name="tests", autocommit=True)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _rescue(rows: Rows) -> UUID:
    worker_id = rows.worker(silent_for=60)
    task_id = rows.task(state="in_progress", claimed_by=worker_id)
    beat = rows.value("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=worker_id)
    assert rescue(rows.connection, worker_id=worker_id, beat=beat).tasks == 1
    return task_id


def _release(rows: Rows) -> UUID:
    worker_id = rows.worker()
    task_id = enqueue(rows.connection, SampleJob()).id
    (held,) = [one for one in take(rows.connection, worker_id, 100) if one.id == task_id]
    assert release(rows.connection, worker_id=worker_id, tokens=[held.token]) == [task_id]
    return task_id


def _run_now(rows: Rows) -> UUID:
    task_id = rows.task(due_in=3600)
    rows.connection.exec_driver_sql("BEGIN")
    assert act(rows.connection, "run_now", task_id, who="admin").done
    rows.connection.exec_driver_sql("COMMIT")
    return task_id


ACTS: dict[str, Callable[[Rows], UUID]] = {
    "enqueue": lambda rows: enqueue(rows.connection, SampleJob()).id,
    "enqueue a unique one": lambda rows: enqueue(rows.connection, UniqueSampleJob(number=7)).id,
    "enqueue many": lambda rows: enqueue_many(rows.connection, [SampleJob(), SampleJob()])[0].id,
    "insert by hand": lambda rows: rows.task(due_in=1),
    "release": _release,
    "rescue": _rescue,
    "run now": _run_now,
}


@pytest.mark.parametrize("act", ACTS)
def test_whatever_makes_a_task_due_succeeds_without_its_notification(rows: Rows, act: str) -> None:
    task_id = ACTS[act](rows)
    assert rows.state(task_id) == "new"
