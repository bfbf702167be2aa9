"""An audited database, and random numbers whose seed is printed."""

import os
import random
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from tests.faults import invariants
from tests.faults.faketime import find_library
from tests.faults.proxy import Proxy


@pytest.fixture(autouse=True)
def audited(connection: Connection) -> None:
    invariants.install(connection)


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """Stand between a worker and the test's database."""
    with Proxy(database_url) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def library() -> str:
    """Let a program have another time of day."""
    return find_library()


@pytest.fixture
def dice() -> random.Random:
    """Random numbers whose seed is printed; SPOILS_FAULT_SEED repeats them."""
    seed = int(os.environ.get("SPOILS_FAULT_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"Repeat this with SPOILS_FAULT_SEED={seed}")
    return random.Random(seed)
