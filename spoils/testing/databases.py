"""Databases for tests: made on the server of DATABASE_URL or on the embedded one, and dropped at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import make_url

from spoils.client.client import default_client
from spoils.config import Settings
from spoils.db.engine import make_engine
from spoils.db.migrate import migrate
from spoils.db.url import database_url


@dataclass(frozen=True)
class Template:
    """A migrated database from which those of the tests are copied, which is faster than to migrate each."""

    server: str
    """The URL of another database on the same server: one that is in use cannot be copied."""
    name: str

    @contextmanager
    def copy(self) -> Iterator[str]:
        """The URL of an empty, migrated database."""
        with _new_database(self.server, f"TEMPLATE {self.name}") as name:
            yield _on(self.server, name)


@contextmanager
def template() -> Iterator[Template]:
    """A template of this process's own."""
    server = database_url(Settings.from_env())
    with _new_database(server, "") as name:
        engine = make_engine(_on(server, name), connections=1, application_name="spoils:testing")
        migrate(engine)
        engine.dispose()
        yield Template(server, name)


@contextmanager
def new_default_client() -> Iterator[None]:
    """Let the functions of `spoils` read DATABASE_URL again, here and afterwards."""
    default_client.cache_clear()
    try:
        yield
    finally:
        if default_client.cache_info().currsize:
            default_client().close()
        default_client.cache_clear()


@contextmanager
def _new_database(server: str, options: str) -> Iterator[str]:
    name = f"spoils_test_{uuid4().hex}"
    _execute(server, f"CREATE DATABASE {name} {options}")
    try:
        yield name
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")  # whoever still uses it


def _execute(url: str, statement: str) -> None:
    engine = make_engine(url, connections=1, application_name="spoils:testing", autocommit=True)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def _on(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)
