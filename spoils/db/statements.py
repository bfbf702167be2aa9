"""The queue's own statements: compiled once, prepared once for each connection, answered as plain tuples."""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import psycopg2
from psycopg2.errorcodes import INVALID_SQL_STATEMENT_NAME
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, adapt
from sqlalchemy import Connection, Engine
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql import ClauseElement

from spoils.db.engine import BY_INDEX, DIRECT, is_direct, is_planned_once, refused_by_read_only_server

_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]
# Prepared statements number their parameters.
_NUMBERED = PGDialect_psycopg2(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_PREPARED = "prepared"
# Up to the end of the transaction; several statements in one text are one, where there is none around them.
_BY_INDEX = [f"SET LOCAL {name} = {value}" for name, value in BY_INDEX.items()]
_SAVEPOINT = "SAVEPOINT spoils"
_GENERIC = "SET LOCAL plan_cache_mode = force_generic_plan"


class Statement:
    """A Core statement in the driver's form. Lists must be arrays, since the text of `IN` depends on their length.

    Parameters reach the driver as they are given, and values come back as the driver reads them. A connection that is
    planned once prepares the statement under its `name`, at its first use.

    `anywhere`: prepare it on the connections of jobs and pages too, without changing how their own statements are
    planned. `chooses`: the planner has a choice; False for an INSERT of one row, which needs no planner settings.
    `lock_timeout_ms`: how long any statement waits for a lock, from here to the end of the transaction.
    """

    def __init__(
        self,
        statement: ClauseElement,
        name: str,
        *,
        anywhere: bool = False,
        chooses: bool = True,
        lock_timeout_ms: int | None = None,
    ) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)
        self.text = str(compiled)
        self._anywhere = anywhere
        self._constants = {
            key: _as_driver_takes_it(bind.type, bind.value)
            for bind, key in compiled.bind_names.items()
            if not bind.required
        }
        # The text's digest, since what is prepared under a name stays so for as long as its session.
        self.prepared = f"spoils_{name}_{sha256(self.text.encode()).hexdigest()[:8]}"
        numbered: Any = statement.compile(dialect=_NUMBERED)
        names = numbered.positiontup
        given = [one for one in names if one not in self._constants]
        places = {one: f"${place}" for place, one in enumerate(given, 1)}
        places |= {one: _literal(value) for one, value in self._constants.items()}
        text = re.sub(r"\$([0-9]+)", lambda found: places[names[int(found[1]) - 1]], str(numbered))
        self.preparing = f"PREPARE {self.prepared} AS {text}"
        self.executing = f"EXECUTE {self.prepared}{_arguments(f'%({one})s' for one in given)}"
        planning = f"EXPLAIN EXECUTE {self.prepared}{_arguments('NULL' for _ in given)}"
        self._preparing_alone = (
            "; ".join([*_BY_INDEX, self.preparing, planning]) if chooses else self.preparing
        )
        self._preparing_within = (
            f"{_SAVEPOINT}; {self._preparing_alone}; ROLLBACK TO {_SAVEPOINT}; RELEASE {_SAVEPOINT}"
        )
        # In the text of the statement, for a pooler too: what outlives the transaction would be somebody else's.
        waiting = f"SET LOCAL lock_timeout = {lock_timeout_ms}; " if lock_timeout_ms else ""
        self._text_within = waiting + self.text
        self._executing_within = waiting + self.executing
        self._executing_alone = waiting + (f"{_GENERIC}; {self.executing}" if chooses else self.executing)

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute it on `connection`; all rows. Errors are SQLAlchemy's, as for any other statement."""
        if is_planned_once(connection):
            return self._prepared(
                connection, connection.dialect, values, self.preparing, self._executing_within
            )
        if self._anywhere and _may_prepare(connection):
            preparing = self._preparing_alone if _is_alone(connection) else self._preparing_within
            return self._prepared(connection, connection.dialect, values, preparing, self._executing_alone)
        with connection.exec_driver_sql(self._text_within, {**self._constants, **values}) as result:
            return [tuple(row) for row in result.cursor.fetchall()] if result.returns_rows else []

    def rows_alone(self, engine: Engine, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute it in a transaction of its own, which is one round trip to the server; errors as above."""
        try:
            pooled = engine.raw_connection()
        except psycopg2.Error as exc:
            gone = engine.dialect.is_disconnect(exc, None, None)  # type: ignore[arg-type]
            raise _error(exc, self.prepared, engine.dialect, gone=gone) from exc
        direct = self._anywhere and bool(pooled.info.get(DIRECT))
        try:
            if direct:
                driver: Any = pooled.driver_connection
                # Not an isolation level as an option: where the connection is broken, its reset would raise, and the
                # pool never get its place back.
                before, driver.autocommit = driver.autocommit, True
                try:
                    return self._prepared(
                        pooled, engine.dialect, values, self._preparing_alone, self._executing_alone
                    )
                finally:
                    if not driver.closed:
                        driver.autocommit = before
        finally:
            pooled.close()
        # Behind a pooler the statement timeout, which is set for one transaction, needs one.
        with engine.begin() as connection:
            return self.rows(connection, values)

    def _prepared(
        self,
        owner: Connection | PoolProxiedConnection,
        dialect: Dialect,
        values: Mapping[str, Any],
        preparing: str,
        executing: str,
    ) -> list[tuple[Any, ...]]:
        # By the driver alone: SQLAlchemy's part in it would be felt by a job that somebody waits for.
        pooled = owner.connection if isinstance(owner, Connection) else owner
        driver: Any = pooled.driver_connection
        prepared = pooled.info.setdefault(_PREPARED, set())
        with driver.cursor() as cursor:
            try:
                if self.prepared not in prepared:
                    cursor.execute(preparing)
                    prepared.add(self.prepared)
                cursor.execute(executing, values)
                return cursor.fetchall() if cursor.description else []
            except psycopg2.Error as exc:
                if exc.pgcode == INVALID_SQL_STATEMENT_NAME:
                    prepared.clear()  # a job has executed DEALLOCATE ALL or DISCARD ALL in this session
                raise _sqlalchemy_error(exc, self.prepared, owner, dialect, driver) from exc


def _sqlalchemy_error(
    error: psycopg2.Error,
    statement: str,
    owner: Connection | PoolProxiedConnection,
    dialect: Dialect,
    driver: Any,
) -> Exception:
    gone = refused_by_read_only_server(error) or dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
    if gone:
        owner.invalidate(error)
    return _error(error, statement, dialect, gone=gone)


def _error(error: psycopg2.Error, statement: str, dialect: Dialect, *, gone: bool) -> Exception:
    raised: Exception = DBAPIError.instance(
        statement,
        None,
        error,
        psycopg2.Error,
        hide_parameters=True,
        connection_invalidated=gone,
        dialect=dialect,
    )
    return raised


def _may_prepare(connection: Connection) -> bool:
    """Whether the driver begins no transaction that SQLAlchemy would not know of, and so would not end."""
    driver: Any = connection.connection.driver_connection
    return is_direct(connection) and (driver.autocommit or connection.in_transaction())


def _is_alone(connection: Connection) -> bool:
    """Whether a statement is a transaction of its own."""
    driver: Any = connection.connection.driver_connection
    return bool(driver.autocommit) and driver.info.transaction_status == TRANSACTION_STATUS_IDLE


def _arguments(given: Iterable[str]) -> str:
    """What follows the name in EXECUTE: for no argument nothing, since PostgreSQL takes no empty brackets."""
    arguments = ", ".join(given)
    return f"({arguments})" if arguments else ""


def _literal(value: Any) -> str:
    if isinstance(value, str):
        # Without a connection the driver would quote it as Latin-1, and a backslash as some server's setting had it.
        escaped = value.replace("\\", "\\\\").replace("'", "''")
        return f" E'{escaped}'"
    literal: str = adapt(value).getquoted().decode()
    return literal


def _as_driver_takes_it(kind: Any, value: Any) -> Any:
    processor = kind.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return processor(value) if processor else value
