"""One statement on a connection of the caller's, whatever library made it.

Only SQLAlchemy and psycopg2 are imported; the other libraries are recognised by the names of their classes.
"""

import importlib
from typing import Any

import psycopg2.extensions
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session, scoped_session

Rows = list[tuple[Any, ...]]

_QUERY = "SELECT place, id::text, state, duplicate FROM {function}({arguments}) ORDER BY place"


class Call:
    """A call of a function that enqueues, with arguments of JSON text, in each library's style of parameters."""

    def __init__(self, function: str, *names: str) -> None:
        def query(*arguments: str) -> str:
            return _QUERY.format(function=function, arguments=", ".join(arguments))

        self.names = names
        named = query(*(f"CAST(:{name} AS jsonb)" for name in names))
        self.named = text(named.replace("::", "\\:\\:"))
        self.format = query(*("%s::jsonb" for _ in names))
        self.numbered = query(*(f"${place}::jsonb" for place, _ in enumerate(names, 1)))


PUT = Call("spoils_put", "tasks")
PUT_BATCH = Call("spoils_put_batch", "batch", "tasks")

_SQLALCHEMY_ASYNC = ("AsyncSession", "async_scoped_session", "AsyncConnection")
_ASYNCPG = ("Connection", "PoolConnectionProxy")
_SYNC_KINDS = (
    "an SQLAlchemy Session, scoped_session or Connection, a psycopg2 or psycopg connection, "
    "or Django's connection"
)
_ASYNC_KINDS = (
    "an SQLAlchemy AsyncSession or AsyncConnection, a psycopg AsyncConnection, or an asyncpg connection"
)


def put(connection: Any, *arguments: str, call: Call = PUT) -> Rows:
    """Insert tasks, given as the JSON text that `spoils_put` takes, as part of the connection's transaction.

    Raises TypeError with a sentence for what is no connection.
    """
    if isinstance(connection, (Session, scoped_session, Connection)):
        return [
            tuple(row)
            for row in connection.execute(call.named, dict(zip(call.names, arguments, strict=True)))
        ]
    if isinstance(connection, psycopg2.extensions.connection):
        # The plain cursor: the connection's own may return dictionaries.
        with connection.cursor(cursor_factory=psycopg2.extensions.cursor) as cursor:
            cursor.execute(call.format, arguments)
            return cursor.fetchall()
    if _is(connection, "psycopg", "Connection"):
        with connection.cursor(row_factory=_tuple_row()) as cursor:
            cursor.execute(call.format, arguments)
            return list(cursor.fetchall())
    if _is(connection, "django", "BaseDatabaseWrapper", "ConnectionProxy"):
        with connection.cursor() as cursor:
            cursor.execute(call.format, arguments)
            return list(cursor.fetchall())
    hint = " It is asynchronous: await aenqueue(…) instead." if _is_async(connection) else ""
    raise TypeError(f"connection= takes {_SYNC_KINDS}; this is {type(connection).__name__}.{hint}")


async def aput(connection: Any, *arguments: str, call: Call = PUT) -> Rows:
    """The same on an asynchronous connection."""
    if _is(connection, "sqlalchemy", *_SQLALCHEMY_ASYNC):
        return [
            tuple(row)
            for row in await connection.execute(call.named, dict(zip(call.names, arguments, strict=True)))
        ]
    if _is(connection, "psycopg", "AsyncConnection"):
        async with connection.cursor(row_factory=_tuple_row()) as cursor:
            await cursor.execute(call.format, arguments)
            return list(await cursor.fetchall())
    if _is(connection, "asyncpg", *_ASYNCPG):
        return [tuple(row) for row in await connection.fetch(call.numbered, *arguments)]
    raise TypeError(f"connection= takes {_ASYNC_KINDS} here; this is {type(connection).__name__}.")


def _is_async(connection: Any) -> bool:
    return (
        _is(connection, "sqlalchemy", *_SQLALCHEMY_ASYNC)
        or _is(connection, "psycopg", "AsyncConnection")
        or _is(connection, "asyncpg", *_ASYNCPG)
    )


def _is(connection: Any, package: str, *names: str) -> bool:
    return any(
        base.__name__ in names and base.__module__.partition(".")[0] == package
        for base in type(connection).__mro__
    )


def _tuple_row() -> Any:
    # No dependency of ours: who has such a connection has the package.
    return importlib.import_module("psycopg.rows").tuple_row
