"""Transactions of the background loops, on the connection that they share with settling."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from spoils.db.engine import transaction

LOCK_TIMEOUT_MS = 500
"""How long a background loop waits for a lock before it fails and tries again: settling waits meanwhile."""


@contextmanager
def background_transaction(engine: Engine, turn: threading.Lock) -> Iterator[Connection]:
    """One transaction of a background loop. `turn` lets one loop at a time take a connection."""
    with turn, transaction(engine) as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        yield connection
