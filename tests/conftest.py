"""The server that the tests use, and the browser."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from playwright.sync_api import Browser, sync_playwright

from spoils.db.embedded import EmbeddedPostgres

# These data need to survive nothing.
THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}
SERVERS = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[SERVERS] = Path(config.workerinput["spoils_servers"])
    else:
        config.stash[SERVERS] = Path(tempfile.mkdtemp(prefix="spoils-tests-"))
        # By itself SIGTERM ends Python at once, and the servers would be left behind.
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput["spoils_servers"] = str(node.config.stash[SERVERS])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the servers of all test processes, also of one that was killed and could not do it itself."""
    if hasattr(config, "workerinput") or SERVERS not in config.stash:
        return
    for home in config.stash[SERVERS].iterdir():
        EmbeddedPostgres(home).remove()
    shutil.rmtree(config.stash[SERVERS])


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """Return the URL of a database on this process's own server, or on the one that the environment names."""
    if given := os.environ.get("SPOILS_TEST_DATABASE_URL"):
        return given
    process = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return EmbeddedPostgres(pytestconfig.stash[SERVERS] / process, settings=THROW_AWAY).start()


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
