"""One database for each file of these tests, emptied after each of them: they are many, and small."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import make_engine
from tests.classes import throw_away_classes
from tests.databases import emptied
from tests.pooler import Pooler, a_pooler
from tests.rows import Rows

SESSIONS = 30
LOCK_TIMEOUT_MS = 20_000
"""A statement that waits for a lock although it must not fails its test, and does not hang."""


@pytest.fixture
def database_url(pytestconfig: pytest.Config, database_of_the_file: str) -> Iterator[str]:
    yield database_of_the_file
    emptied(database_of_the_file, pooled=bool(pytestconfig.getoption("--pooler")))


@pytest.fixture(scope="session")
def pooler(pytestconfig: pytest.Config, postgres_url: str) -> Iterator[Pooler | None]:
    if not pytestconfig.getoption("--pooler"):
        yield None
        return
    with a_pooler(postgres_url, sessions=SESSIONS) as pooler:
        yield pooler


@pytest.fixture
def engine(database_url: str, pooler: Pooler | None) -> Iterator[Engine]:
    """Connect to the test's database, each statement its own transaction; with --pooler, through PgBouncer."""
    url = pooler.to(database_url) if pooler else database_url
    made = make_engine(
        url,
        connections=SESSIONS,
        application_name="tests",
        autocommit=True,
        lock_timeout_ms=LOCK_TIMEOUT_MS,
    )
    yield made
    made.dispose()


@pytest.fixture
def direct(database_url: str) -> Iterator[Engine]:
    """Connect without a pooler in any case: a lock and a LISTEN need a session of their own."""
    made = make_engine(database_url, connections=2, application_name="tests", autocommit=True)
    yield made
    made.dispose()


@pytest.fixture(autouse=True)
def classes() -> Iterator[None]:
    with throw_away_classes():
        yield


@pytest.fixture
def me(rows: Rows) -> UUID:
    return rows.worker()


@pytest.fixture
def beside_rust(connection: Connection) -> Iterator[None]:
    """Let the unique index leave out what runs, as while Rust workers share the table."""

    def index(states: str) -> None:
        connection.execute(text("DROP INDEX fang_tasks_active_hash_idx"))
        connection.execute(
            text(
                "CREATE UNIQUE INDEX fang_tasks_active_hash_idx ON fang_tasks (uniq_hash) "
                f"WHERE state IN ({states}) AND uniq_hash IS NOT NULL"
            )
        )

    index("'new', 'retried'")
    yield
    connection.execute(text("DELETE FROM fang_tasks"))
    index("'new', 'retried', 'in_progress'")
