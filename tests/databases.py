"""Databases on the tests' server: made, migrated, emptied between tests, and dropped."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg2
from sqlalchemy import Connection, make_url, text

from spoils.cli.composition import FOOD_TABLES
from spoils.db.engine import make_engine
from spoils.db.migrate import migrate
from spoils.models import db
from tests.support import eventually

OTHERS = """
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> ''
"""


@contextmanager
def administration(url: str) -> Iterator[Connection]:
    """Connect to the server's maintenance database, where databases are made and dropped."""
    administrator = make_engine(url, connections=1, application_name="tests", autocommit=True)
    try:
        with administrator.connect() as connection:
            yield connection
    finally:
        administrator.dispose()


def a_database(postgres_url: str, template: str) -> Iterator[str]:
    """Make a database, with the options of CREATE DATABASE; it is dropped whoever still uses it."""
    name = f"test_{uuid4().hex}"
    with administration(postgres_url) as connection:
        connection.execute(text(f"CREATE DATABASE {name} {template}"))
    yield on_server(postgres_url, name)
    with administration(postgres_url) as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def on_server(url: str, database: str) -> str:
    """The URL of another database on the same server."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def migrate_at(url: str) -> None:
    """Bring the schema of a database up to date, the food service's too."""
    engine = make_engine(url, connections=1, application_name="tests")
    migrate(engine, branches=[FOOD_TABLES])
    engine.dispose()


def emptied(url: str, *, pooled: bool = False) -> None:
    """Make a database what it was after its migration. Whoever is still connected is cut off.

    Where it is `pooled`, wait for the end of those sessions: a pooler gives one that it has not seen end to whoever
    comes next.
    """
    tables = [table.name for table in reversed(db.metadata.sorted_tables)]
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        # All at once: with a timeout pg_terminate_backend would wait 100 ms for each of them.
        cursor.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")

        def gone() -> bool:
            cursor.execute(f"SELECT {OTHERS}")
            return cursor.rowcount == 0

        if pooled:
            eventually(gone)
        # Deleting a few rows is faster than truncating a dozen tables; the counts go after their trigger has written.
        emptying = [
            f"DELETE FROM {table}" for table in sorted(tables, key=lambda name: name == "spoils_counts")
        ]
        cursor.execute("; ".join(["DROP TABLE IF EXISTS effects", *emptying]))
    connection.close()
