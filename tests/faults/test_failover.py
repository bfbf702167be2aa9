"""A standby is promoted and the name leads to it, while the old primary keeps its connections and only reads."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from spoils.cli.composition import FOOD_TABLES
from spoils.config import Settings
from spoils.db import embedded_server
from spoils.db.embedded import EmbeddedPostgres
from spoils.db.embedded_files import find_files
from spoils.db.engine import make_engine
from spoils.db.migrate import migrate
from spoils.job.discovery import load as load_jobs
from spoils.models import db
from spoils.web import create_app
from tests.faults import invariants
from tests.faults.proxy import Proxy
from tests.faults.standby import MAKE_FOLLOWER, standby_of
from tests.faults.workers import all_end, enqueue_all, in_flight, work, workers_run
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.servers import THROW_AWAY
from tests.support import eventually

pytestmark = pytest.mark.process

FETCH = "/api/jobs/fetch-product"


@dataclass
class Pair:
    """A primary and its standby, as the URLs of one database."""

    primary: str
    standby: str


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    postgres = EmbeddedPostgres(tmp_path / "server", settings=THROW_AWAY)
    with ExitStack() as stack:
        url = postgres.start()
        stack.callback(postgres.remove)
        engine = make_engine(url, connections=1, application_name="tests")
        migrate(engine, branches=[FOOD_TABLES])
        with engine.begin() as connection:
            connection.exec_driver_sql(MAKE_FOLLOWER)
        engine.dispose()
        standby = standby_of(find_files(tmp_path / "server" / "16", 16))
        embedded_server.ensure_running(standby, THROW_AWAY)
        stack.callback(embedded_server.halt, standby, "immediate")
        yield Pair(url, standby.url)


def rows_at(stack: ExitStack, url: str) -> Rows:
    engine = make_engine(url, connections=3, application_name="tests", autocommit=True)
    stack.callback(engine.dispose)
    return Rows(stack.enter_context(engine.connect()))


def fail_over(old: Rows, new: Rows, proxy: Proxy, pair: Pair) -> None:
    """Promote the standby once it has all that the primary accepted, and let the name lead to it."""
    written = old.value("SELECT pg_current_wal_lsn()::text")
    replayed = "SELECT pg_last_wal_replay_lsn() >= CAST(:lsn AS pg_lsn)"
    eventually(lambda: bool(new.value(replayed, lsn=written)))
    assert new.value("SELECT pg_promote()")
    proxy.switch(pair.standby)


def test_after_a_failover_without_a_closed_socket_all_works_again_and_no_job_counts_it_as_its_failure(
    pair: Pair, thorough: bool
) -> None:
    load_jobs()
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(pair.primary))
        old, new = rows_at(stack, pair.primary), rows_at(stack, pair.standby)
        invariants.install(old.connection)
        program = stack.enter_context(worker(proxy.url, WORKER_THREADS="4"))
        app = create_app(Settings.from_env({"DATABASE_URL": proxy.url}))
        client = app.test_client()
        workers_run(old, 1)
        accepted = enqueue_all(old.connection, work(24, seconds=1))
        in_flight(old, 3)
        assert client.post(FETCH, json={"barcode": "737628064502"}).status_code == 200
        old.connection.exec_driver_sql("ALTER SYSTEM SET default_transaction_read_only = on")
        old.connection.exec_driver_sql("SELECT pg_reload_conf()")
        # The heartbeat, a claim or a job has met it.
        program.says("read-only transaction")
        assert client.post(FETCH, json={"barcode": "4006381333931"}).status_code == 503
        if thorough:
            until = old.value("SELECT now() + interval '1 min'")
            eventually(lambda: bool(old.value("SELECT clock_timestamp() > :until", until=until)), 90, every=1)
        fail_over(old, new, proxy, pair)
        assert client.post(FETCH, json={"barcode": "4006381333931"}).status_code == 200
        assert client.get("/api/jobs/status").status_code == 200
        all_end(new, enqueue_all(new.connection, [SampleJob()]), timeout=10)
        all_end(new, accepted, timeout=60)
        assert new.value("SELECT max(retries) + max(crashes) FROM fang_tasks WHERE task_type = 'work'") == 0
        assert program.process.poll() is None
        invariants.check(new, accepted)
        with app.app_context():
            db.engine.dispose()


def test_a_web_program_on_the_standby_shows_the_queue_and_refuses_to_change_it(pair: Pair) -> None:
    load_jobs()
    with ExitStack() as stack:
        old, new = rows_at(stack, pair.primary), rows_at(stack, pair.standby)
        (job,) = enqueue_all(old.connection, [SampleJob()])
        eventually(lambda: new.state(job) == "new")
        settings = {
            "SECRET_KEY": "the key of the tests' sessions",
            "SPOILS_API_TOKEN": "the token of the tests",
        }
        app = create_app(settings, database_url=pair.standby, authorize=lambda _: "viewer")
        client = app.test_client()
        for page in ("/", "/jobs?state=new", f"/jobs/{job}", "/errors", "/workers", "/schedules"):
            assert client.get(page).status_code == 200, page
        assert str(job) in client.get("/jobs?state=new").text
        token = {"Authorization": "Bearer the token of the tests"}
        assert client.get(f"/api/jobs/{job}", headers=token).json["state"] == "new"
        assert client.post(FETCH, json={"barcode": "737628064502"}, headers=token).status_code == 503
        with app.app_context():
            db.engine.dispose()
