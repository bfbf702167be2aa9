"""Programs that are tried many times, and the table in which jobs leave a sign."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from tests.process.trials import Trials
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
