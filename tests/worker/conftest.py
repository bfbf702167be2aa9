"""One database for each file of these tests, emptied after each of them: they are many, and small."""

from collections.abc import Iterator

import pytest

from tests.classes import throw_away_classes
from tests.databases import emptied


@pytest.fixture
def database_url(database_of_the_file: str) -> Iterator[str]:
    yield database_of_the_file
    emptied(database_of_the_file)


@pytest.fixture(autouse=True)
def classes() -> Iterator[None]:
    with throw_away_classes():
        yield
