"""The server that the tests use, databases on it, rows in any state, programs, and the browser."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from spoils.config import Settings
from spoils.db import trouble
from spoils.db.engine import make_engine
from spoils.db.trouble import Trouble
from spoils.food.extension import FOOD
from spoils.job.discovery import load as load_jobs
from spoils.job.registry import registry
from spoils.models import db
from spoils.web import create_app, errors
from tests.databases import a_database, administration, migrate_at, on_server
from tests.rows import Rows
from tests.servers import VERSIONS, a_server, programs_of

SERVERS = pytest.StashKey[Path]()

registry.compares_payloads = True


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pooler", action="store_true", help="the queue's tests through PgBouncer in transaction mode"
    )
    parser.addoption(
        "--postgres", type=int, choices=VERSIONS, default=16, help="the version of the tests' own server"
    )
    parser.addoption("--thorough", action="store_true", help="the long forms of the tests that count")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[SERVERS] = Path(config.workerinput["spoils_servers"])
    else:
        programs_of(config.getoption("--postgres"))  # fetched here, before several processes need it
        config.stash[SERVERS] = Path(tempfile.mkdtemp(prefix="spoils-tests-"))
        # By itself SIGTERM ends Python at once, and the servers would be left behind.
        signal.signal(signal.SIGTERM, _interrupt)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests first: the short ones then keep all processes busy until the end."""
    items.sort(key=lambda item: not item.get_closest_marker("process"))


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput["spoils_servers"] = str(node.config.stash[SERVERS])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[Any]:
    """The log of a job that raised odd text may hold what no process can send to another."""
    report = yield
    report.sections = [
        (name, content.encode("utf-8", "backslashreplace").decode()) for name, content in report.sections
    ]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests report, such as how long a deployment took to be well again."""
    for passed in terminalreporter.getreports("passed"):
        for name, line in passed.user_properties:
            if name == "report":
                terminalreporter.write_line(f"{passed.nodeid.rpartition('::')[2]}: {line}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the servers of all test processes, also of one that was killed and could not do it itself."""
    if hasattr(config, "workerinput") or SERVERS not in config.stash:
        return
    for home in config.stash[SERVERS].iterdir():
        a_server(home, config.getoption("--postgres")).remove()
    shutil.rmtree(config.stash[SERVERS])


@pytest.fixture(autouse=True)
def outage(monkeypatch: pytest.MonkeyPatch) -> Trouble:
    """Forget the troubles that an earlier test has met: they are the process's."""
    fresh = Trouble("database")
    monkeypatch.setattr(trouble, "OUTAGE", fresh)
    monkeypatch.setattr(errors, "_trouble", Trouble("The database"))
    return fresh


@pytest.fixture(scope="session")
def thorough(pytestconfig: pytest.Config) -> bool:
    """Whether the long forms of the tests are wanted."""
    return bool(pytestconfig.getoption("--thorough"))


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """Return the URL of a database on this process's own server, or on the one that the environment names."""
    if given := os.environ.get("SPOILS_TEST_DATABASE_URL"):
        return given
    process = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return a_server(pytestconfig.stash[SERVERS] / process, pytestconfig.getoption("--postgres")).start()


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """Make the database that every test's own is copied from, migrated once; or name the environment's."""
    if given := os.environ.get("SPOILS_TEST_TEMPLATE"):
        yield given
        return
    name = f"template_{uuid4().hex}"
    with administration(postgres_url) as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    migrate_at(on_server(postgres_url, name))
    yield name
    with administration(postgres_url) as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """Make a database of this test's own with nothing in it."""
    yield from a_database(postgres_url, "")


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """Make a migrated database of this test's own, gone afterwards whoever still uses it."""
    yield from a_database(postgres_url, f"TEMPLATE {template}")


@pytest.fixture(scope="module")
def database_of_the_file(postgres_url: str, template: str) -> Iterator[str]:
    """Make a migrated database for all tests of a file, where a folder's `database_url` empties it after each."""
    yield from a_database(postgres_url, f"TEMPLATE {template}")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Connect to the test's database, each statement its own transaction."""
    made = make_engine(database_url, connections=30, application_name="tests", autocommit=True)
    yield made
    made.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def session(connection: Connection) -> Session:
    return Session(connection)


@pytest.fixture
def rows(connection: Connection) -> Rows:
    """Insert rows in any state, and read them."""
    return Rows(connection)


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings.from_env(
        {"DATABASE_URL": database_url, "SPOILS_ANALYZE_SECONDS": "0", "SPOILS_NOTIFY_SECONDS": "0"}
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """Build the web application over the test's database; tests of settings build their own."""
    load_jobs()
    app = create_app(settings, extensions=(FOOD,))
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start the machine's Chromium; without one the test is skipped, or fails where a browser is required."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        complaint = "There is no Chromium on the PATH."
        if os.environ.get("SPOILS_TEST_BROWSER") == "required":
            pytest.fail(complaint)
        pytest.skip(complaint)
    with sync_playwright() as playwright:
        # Chromium's sandbox does not start as root; the pages are our own.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=found, args=arguments)
        yield chromium
        chromium.close()
