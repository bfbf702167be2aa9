"""A fleet, and the report of a test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.faults.faketime import find_library
from tests.fleet.fleet import Fleet
from tests.fleet.network import Network, require_namespaces


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One fleet for all tests, which leave it well."""
    require_namespaces()
    # The network ends last: programs that cannot reach their database take longer to stop.
    with Network() as network, ExitStack() as stack:
        yield Fleet(network, tmp_path_factory.mktemp("fleet"), stack)


@pytest.fixture(scope="session")
def library() -> str:
    """Let a program have another time of day."""
    return find_library()


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Print a line when all tests are done."""
    return lambda line: record_property("report", line)
