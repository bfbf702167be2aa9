"""Statements that are executed thousands of times a second: compiled once, planned once, read as plain tuples."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.sql import ClauseElement

from spoils.db.engine import is_planned_once

_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]
# Prepared statements number their parameters.
_NUMBERED = PGDialect_psycopg2(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_PREPARED = "prepared"


class Compiled:
    """A Core statement in the driver's form. Lists must be arrays in it: `IN` has no one text.

    Its constants go with it; what is given at a call reaches the driver as it is, and what comes back is as the
    driver reads it. A connection that plans once prepares it under its `name`, at its first use.
    """

    def __init__(self, statement: ClauseElement, name: str) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)
        self.text = str(compiled)
        self._constants = {
            key: _as_driver_takes_it(bind.type, bind.value)
            for bind, key in compiled.bind_names.items()
            if not bind.required
        }
        numbered: Any = statement.compile(dialect=_NUMBERED)
        # The text's digest, since what is prepared under a name stays so for as long as its session.
        self.prepared = f"spoils_{name}_{sha256(self.text.encode()).hexdigest()[:8]}"
        self.preparing = f"PREPARE {self.prepared} AS {numbered}"
        self.executing = f"EXECUTE {self.prepared}({', '.join(f'%({one})s' for one in numbered.positiontup)})"

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute it on `connection`; all rows. Errors are SQLAlchemy's, as for any other statement."""
        text = self._prepare(connection) if is_planned_once(connection) else self.text
        with connection.exec_driver_sql(text, {**self._constants, **values}) as result:
            return [tuple(row) for row in result.cursor.fetchall()] if result.returns_rows else []

    def _prepare(self, connection: Connection) -> str:
        prepared = connection.info.setdefault(_PREPARED, set())
        if self.prepared not in prepared:
            connection.exec_driver_sql(self.preparing)
            prepared.add(self.prepared)
        return self.executing


def _as_driver_takes_it(kind: Any, value: Any) -> Any:
    processor = kind.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return processor(value) if processor else value
