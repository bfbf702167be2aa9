"""Ending other database sessions, where the server allows it."""

from collections.abc import Mapping
from typing import Any

from psycopg2.errors import InsufficientPrivilege
from sqlalchemy import Connection, TextClause
from sqlalchemy.exc import DBAPIError


def terminate(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> str | None:
    """Execute a statement that calls pg_terminate_backend, on an autocommit connection. Returns why it was refused.

    The sessions may be another role's, and a server may keep the function from all roles. No caller depends on it.
    """
    try:
        connection.execute(statement, values)
    except DBAPIError as exc:
        if isinstance(exc.orig, InsufficientPrivilege):
            return str(exc.orig).partition("\n")[0]
        raise
    return None
