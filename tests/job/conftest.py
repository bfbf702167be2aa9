"""Classes defined in these tests are gone after them."""

from collections.abc import Iterator

import pytest

from tests.classes import throw_away_classes


@pytest.fixture(autouse=True)
def classes() -> Iterator[None]:
    with throw_away_classes():
        yield
