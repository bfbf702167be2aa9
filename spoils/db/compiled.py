"""Statements that are executed thousands of times a second: compiled once, and read as plain tuples."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.sql import ClauseElement

_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]


class Compiled:
    """A Core statement in the driver's form. Lists must be arrays in it: `IN` has no one text.

    Its constants go with it; what is given at a call reaches the driver as it is, and what comes back is as the
    driver reads it.
    """

    def __init__(self, statement: ClauseElement) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)
        self.text = str(compiled)
        self._constants = {
            name: _as_driver_takes_it(bind.type, bind.value)
            for bind, name in compiled.bind_names.items()
            if not bind.required
        }

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute it on `connection`; all rows. Errors are SQLAlchemy's, as for any other statement."""
        with connection.exec_driver_sql(self.text, {**self._constants, **values}) as result:
            return [tuple(row) for row in result.cursor.fetchall()] if result.returns_rows else []


def _as_driver_takes_it(kind: Any, value: Any) -> Any:
    processor = kind.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return processor(value) if processor else value
