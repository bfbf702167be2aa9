"""One database for each file of these tests, emptied after each of them: they are many, and small."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from spoils.config import Settings
from tests.classes import throw_away_classes
from tests.databases import emptied
from tests.rows import Rows
from tests.worker.performing import Hands, performing


@pytest.fixture
def database_url(database_of_the_file: str) -> Iterator[str]:
    yield database_of_the_file
    emptied(database_of_the_file)


@pytest.fixture(autouse=True)
def classes() -> Iterator[None]:
    with throw_away_classes():
        yield


@pytest.fixture
def hands(settings: Settings, database_url: str, connection: Connection, rows: Rows) -> Iterator[Hands]:
    with performing(settings, database_url, connection, rows) as hands:
        yield hands
