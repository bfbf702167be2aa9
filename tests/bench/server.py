"""The PostgreSQL that is measured on: one of the bench's own, with default settings, or one that is named."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg2
from sqlalchemy import Engine

from spoils.db.embedded import EmbeddedPostgres
from spoils.db.engine import make_engine
from tests.databases import migrate_at, on_server


@contextmanager
def server(url: str | None = None) -> Iterator[str]:
    """The URL of a server with its own default settings, max_connections aside; removed afterwards if it is ours."""
    if url is not None:
        yield url
        return
    home = Path(tempfile.mkdtemp(prefix="spoils-bench-"))
    postgres = EmbeddedPostgres(home / "postgres", settings={"max_connections": "200"})
    try:
        yield postgres.start()
    finally:
        postgres.remove()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def database(server_url: str, *, migrated: bool = True) -> Iterator[str]:
    """The URL of a new database on that server, with the queue's tables if `migrated`."""
    name = f"bench_{uuid4().hex[:12]}"
    administer(server_url, f"CREATE DATABASE {name}")
    url = on_server(server_url, name)
    try:
        if migrated:
            migrate_at(url)
        yield url
    finally:
        administer(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def engine_of(url: str, connections: int = 2) -> Engine:
    """An engine of the queue's own making."""
    return make_engine(url, connections=connections, application_name="bench")


def administer(url: str, *statements: str) -> None:
    """Execute statements outside transactions."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


def ask(url: str, statement: str) -> tuple:  # type: ignore[type-arg]
    """The first row that a statement finds."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone()
            assert row is not None
            return row
    finally:
        connection.close()
