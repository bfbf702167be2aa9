"""Fixtures of the process tests: programs, the table of jobs' effects, and the built wheel."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from tests.process.trials import Trials
from tests.programs import ROOT
from tests.rows import Rows
from tests.sample_jobs import EFFECTS


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    with Trials() as trials:
        yield trials


@pytest.fixture
def rows(connection: Connection, rows: Rows) -> Rows:
    connection.execute(text(EFFECTS))
    return rows


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run([sys.executable, *build], check=True, timeout=300)
    return next(folder.glob("*.whl"))
