"""The worker and the web behind PgBouncer in transaction mode: polling, no lock, no LISTEN."""

import signal
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from spoils.config import Settings
from spoils.db.engine import make_engine
from spoils.job.discovery import load as load_jobs
from spoils.models import db
from spoils.web import create_app
from tests.faults import invariants
from tests.faults.jobs import WorkJob
from tests.faults.workers import all_end, enqueue_all, held_by, in_flight, work, workers_run
from tests.pooler import Pooler, a_pooler
from tests.programs import worker
from tests.rows import Rows

pytestmark = pytest.mark.process


@pytest.fixture
def pooler(database_url: str) -> Iterator[Pooler]:
    with a_pooler(database_url) as pooler:
        yield pooler


def test_workers_behind_a_pooler_poll_finish_everything_and_hold_no_lock(
    pooler: Pooler, connection: Connection, rows: Rows
) -> None:
    with worker(pooler.url) as first, worker(pooler.url):
        workers_run(rows, 2)
        accepted = enqueue_all(connection, work(40, seconds=0.2, chains=5))
        all_end(rows, accepted, timeout=60)
        assert rows.all("SELECT DISTINCT lock_key FROM spoils_workers") == [(None,)]
        first.stop()
    # A tick of each second, each once, by two schedulers over shared sessions.
    invariants.check(rows, accepted)
    assert rows.value("SELECT max(attempts) FROM fang_tasks") == 1


def test_a_worker_killed_behind_a_pooler_is_dead_after_thirty_seconds_of_silence(
    pooler: Pooler, connection: Connection, rows: Rows
) -> None:
    # This one counts the silence from its beginning.
    with worker(pooler.url, WORKER_TASK_TYPES="sample"):
        with worker(pooler.url, WORKER_TASK_TYPES="work", WORKER_THREADS="2") as killed:
            workers_run(rows, 2)
            # Long enough that the first still runs when a poll, a second later, has found the other.
            accepted = enqueue_all(connection, [WorkJob(number=one, seconds=5) for one in range(2)])
            in_flight(rows, 2)
            lost = held_by(rows, killed.process.pid)
            killed.send(signal.SIGKILL)
            killed.ends()
        with worker(pooler.url, WORKER_TASK_TYPES="work", WORKER_THREADS="2") as survivor:
            all_end(rows, accepted, timeout=70)
            assert survivor.process.poll() is None
    assert [rows.one(task_id).crashes for task_id in lost] == [1] * len(lost)
    silent = rows.value(
        "SELECT extract(epoch FROM ended_at - beat_at)::float FROM spoils_workers WHERE ended_how = 'killed'"
    )
    assert silent >= 30
    invariants.check(rows, accepted)


def test_a_page_behind_a_pooler_keeps_its_statement_timeout_and_leaves_none_behind(
    pooler: Pooler, rows: Rows
) -> None:
    load_jobs()
    app = create_app(Settings.from_env({"DATABASE_URL": pooler.url, "SPOILS_API_TOKEN": "t0ken"}))
    client, door = app.test_client(), {"Authorization": "Bearer t0ken"}
    fetch = {"barcode": "737628064502"}
    assert client.post("/api/jobs/fetch-product", json=fetch, headers=door).status_code == 200
    for path in ("/api/jobs/status", "/metrics"):
        assert client.get(path, headers=door).status_code == 200
    with app.app_context():
        assert db.session.scalar(text("SHOW statement_timeout")) == "5s"
        db.session.remove()
        db.engine.dispose()
    other = make_engine(pooler.url, connections=1, application_name="tests")
    with other.connect() as connection:
        assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert connection.scalar(text("SHOW statement_timeout")) == "0"
    other.dispose()
