"""A database for each file of these tests, emptied after each of them."""

from collections.abc import Iterator

import pytest

from spoils.client import Client
from tests.databases import emptied


@pytest.fixture
def database_url(database_of_the_file: str) -> Iterator[str]:
    yield database_of_the_file
    emptied(database_of_the_file)


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    made = Client(database_url)
    yield made
    made.close()
