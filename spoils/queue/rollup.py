"""Rolling delta rows up into their sum, by one process at a time."""

from sqlalchemy import Connection, Executable, func, select

COUNTS_LOCK = 0x5B012
MINUTES_LOCK = 0x5B013
ALERTS_LOCK = 0x5B014
QUARTERS_LOCK = 0x5B0A4
TOTALS_LOCK = 0x5B0A5


def under_lock(connection: Connection, key: int, statement: Executable) -> None:
    """Execute `statement` in the connection's transaction, or do nothing where another one holds the lock `key`."""
    if connection.scalar(select(func.pg_try_advisory_xact_lock(key))):
        connection.execute(statement)
