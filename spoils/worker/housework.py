"""Housework's use of the connection that it shares with settling."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from spoils.db.engine import transaction

LOCK_TIMEOUT_MS = 500
"""How long housework waits for somebody's lock before it fails and is tried again: outcomes wait for it meanwhile."""


@contextmanager
def housework(engine: Engine, turn: threading.Lock) -> Iterator[Connection]:
    """One transaction of the housework's. `turn` lets one of its rooms at a time take a connection."""
    with turn, transaction(engine) as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        yield connection
