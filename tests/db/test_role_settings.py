"""What a role or a database sets for its sessions does not change what the queue's statements do."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy import Connection, Engine

from spoils.cli.start import starting_engine
from spoils.config import Settings
from spoils.job.registry import registry
from spoils.models import db
from spoils.web import create_app
from spoils.worker.startup import WorkerParts
from spoils.worker.worker_application import create_worker_app
from tests.pooler import a_pooler
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import EFFECTS
from tests.support import eventually

ODD = {
    "default_transaction_isolation": "serializable",
    "statement_timeout": "1s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    "idle_session_timeout": "1s",
    "client_encoding": "LATIN1",
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kathmandu",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "client_min_messages": "debug5",
    "jit": "on",
    "client_connection_check_interval": "5s",
    "search_path": "elsewhere, public",
}
PINNED = {
    "default_transaction_isolation": "read committed",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, DMY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "client_min_messages": "warning",
    "jit": "off",
    "client_connection_check_interval": "1s",
    "search_path": "elsewhere, public",
}
UNLIMITED = dict.fromkeys(
    ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"), "0"
)

LEFT = {"statement_timeout": "1000", "lock_timeout": "1000", "IntervalStyle": "iso_8601", "jit": "on"}
TOKEN = "a token of some length"


@pytest.fixture
def odd_url(database_url: str, connection: Connection) -> str:
    """A database whose sessions begin with settings that no program of Spoils expects."""
    for name, value in ODD.items():
        connection.exec_driver_sql(
            f"ALTER DATABASE {connection.engine.url.database} SET {name} = "
            + (value if name == "search_path" else f"'{value}'")
        )
    return database_url


def for_start(url: str) -> Engine:
    return starting_engine(url)


def for_pages(url: str) -> Engine:
    with create_app(Settings.from_env({"DATABASE_URL": url})).app_context():
        return db.engine


def for_jobs(url: str) -> Engine:
    app = create_worker_app(Settings.from_env({}), database_url=url, worker_id=uuid4())
    with app.app_context():
        return db.engine


def for_the_worker(url: str) -> Engine:
    parts = WorkerParts(
        settings=Settings.from_env({}),
        registry=registry,
        database_url=url,
        on_registered=lambda: None,
        on_ended=lambda: None,
        on_threads_lost=lambda: None,
    )
    return parts.engine


def shown(connection: Connection, names: list[str]) -> dict[str, str]:
    return {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names}


@pytest.mark.parametrize(
    ("make", "limits"),
    [
        (for_start, UNLIMITED),
        (for_pages, {**UNLIMITED, "statement_timeout": "5s"}),
        (for_the_worker, {**UNLIMITED, "lock_timeout": "5s"}),
        # A job's statements are limited as the role is.
        (for_jobs, {name: ODD[name] for name in UNLIMITED}),
    ],
    ids=["start", "pages", "worker", "jobs"],
)
def test_the_settings_of_a_role_do_not_reach_a_connection(
    odd_url: str, make: Callable[[str], Engine], limits: dict[str, str]
) -> None:
    engine = make(odd_url)
    with engine.connect() as connection:
        assert shown(connection, list(PINNED | limits)) == PINNED | limits
    engine.dispose()


@pytest.fixture
def pooled_url(odd_url: str) -> Iterator[str]:
    with a_pooler(odd_url, sessions=1) as pooler:
        yield pooler.url


def test_behind_a_pooler_the_rules_hold_in_each_transaction_and_do_not_outlive_it(
    pooled_url: str,
) -> None:
    engine = for_pages(pooled_url)
    names = ["transaction_isolation", "TimeZone", "IntervalStyle", "statement_timeout", "lock_timeout"]
    for _ in range(2):
        with engine.connect() as connection:
            assert shown(connection, names) == {
                "transaction_isolation": "read committed",
                "TimeZone": "UTC",
                "IntervalStyle": "postgres",
                "statement_timeout": "5s",
                "lock_timeout": "0",
            }
    engine.dispose()
    # The pages' session at the server is the only one, so this is it.
    other = psycopg2.connect(pooled_url)
    with other.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(LEFT),))
        assert dict(cursor.fetchall()) == LEFT
    other.close()


@pytest.mark.process
def test_a_job_is_enqueued_claimed_performed_and_shown_whatever_its_database_sets(
    odd_url: str, connection: Connection, rows: Rows
) -> None:
    rows.connection.exec_driver_sql(EFFECTS)
    settings = Settings.from_env({"DATABASE_URL": odd_url, "SPOILS_API_TOKEN": TOKEN}, development=True)
    app = create_app(settings)
    client = app.test_client()
    with worker(odd_url) as program:
        answer = client.post(
            "/api/jobs",
            json={"type": "EffectJob", "payload": {"name": "✓ déjà vu"}},
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        assert answer.status_code == 200
        eventually(
            lambda: (
                rows.all("SELECT state::text, retries FROM fang_tasks WHERE task_type = 'effect'")
                == [("finished", 0)]
            )
        )
        assert "Traceback" not in program.output
        for path in ("/", "/jobs", f"/jobs/{answer.get_json()['id']}", "/workers", "/schedules", "/errors"):
            shown = client.get(path, base_url="http://localhost")
            assert (path, shown.status_code, "took too long" in shown.text) == (path, 200, False)
    assert rows.value("SELECT name FROM effects") == "✓ déjà vu"
    with app.app_context():
        db.engine.dispose()
