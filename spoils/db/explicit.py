"""A transaction that is begun and ended in SQL, so that its last statement and its COMMIT are one round trip."""

from collections.abc import Callable, Mapping
from typing import Any

from psycopg2 import extensions
from psycopg2.extensions import STATUS_READY, TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS
from sqlalchemy import Connection, Engine

from spoils.db.compiled import Compiled, execute
from spoils.db.engine import first_in_transaction

FIRST_SAVEPOINT = "sa_savepoint_1"
"""What SQLAlchemy calls the first one of a connection. Were it to find another name, it would make its own."""


class ExplicitTransaction:
    """One transaction on a connection of `engine`, whose connections are `Driver`s.

    Whoever commits or rolls back by its connection ends it as any other; what follows is psycopg2's.
    """

    def __init__(self, engine: Engine) -> None:
        self.connection: Connection = engine.connect()
        # Kept apart: asking a SQLAlchemy connection that has failed for its driver's one raises.
        self.driver: Any = self.connection.connection.driver_connection

    def begin(self) -> None:
        """Begin it. Not done when it is made: who is to cut off a server that does not answer must hold it by then."""
        self.driver.autocommit = True
        self.driver.in_sql = True  # before it is so: an interruption may come between
        rules = first_in_transaction(self.connection)
        execute(self.connection, f"{rules}BEGIN; SAVEPOINT {FIRST_SAVEPOINT}")
        self.driver.savepoint = FIRST_SAVEPOINT
        self.connection.begin()

    def commit(self) -> None:
        """End it for good."""
        self.connection.commit()

    def commit_after(self, statement: Compiled, values: Mapping[str, Any]) -> None:
        """Execute `statement`, whose answer nobody hears, and commit. After an error of it nothing is committed."""
        if self.driver.in_sql:
            statement.execute_and_commit(self.connection, values)
        else:
            statement.rows(self.connection, values)
        self.connection.commit()

    def close(self) -> None:
        """Roll back what is not committed, and give the connection back."""
        self.connection.close()


class Driver(extensions.connection):
    """A psycopg2 connection that also ends what was begun in SQL.

    psycopg2 believes in no transaction then: told of one, it would send a COMMIT of its own after one that was part of
    a text. But it refuses cursors of the server and large objects where it knows of none. For them it is let begin one,
    at which the server warns that there is one, and ends it as it always does.
    """

    in_sql = False
    """Whether a transaction was begun in SQL, and has not been ended by this connection yet."""
    savepoint: str | None = None
    """The savepoint that is there already, as long as nothing has been executed since."""

    def commit(self) -> None:
        """As psycopg2's."""
        self._end("COMMIT", super().commit)

    def rollback(self) -> None:
        """As psycopg2's."""
        self._end("ROLLBACK", super().rollback)

    def cursor(self, name: str | bytes | None = None, *options: Any, **more: Any) -> Any:
        """As psycopg2's; with a name, a cursor of the server."""
        self.savepoint = None
        if name is not None:
            self._let_begin()
        return super().cursor(name, *options, **more)

    def lobject(self, *options: Any, **more: Any) -> Any:
        """As psycopg2's."""
        self.savepoint = None
        self._let_begin()
        return super().lobject(*options, **more)

    def _end(self, statement: str, end: Callable[[], None]) -> None:
        if not self.in_sql:
            end()
            return
        try:
            if self.info.transaction_status != TRANSACTION_STATUS_IDLE:
                with super().cursor() as cursor:
                    cursor.execute(statement)
            end()
        finally:
            self.in_sql, self.savepoint = False, None
            if not self.closed:
                if (self.status, self.info.transaction_status) == (STATUS_READY, TRANSACTION_STATUS_IDLE):
                    self.autocommit = False
                else:
                    self.close()  # a cancel came late: the next one who is given it would be in this transaction

    def _let_begin(self) -> None:
        if self.in_sql and self.info.transaction_status == TRANSACTION_STATUS_INTRANS:
            self.autocommit = False
            with super().cursor() as cursor:
                cursor.execute("SELECT")  # with which it begins, also where its caller then does nothing
            self.in_sql = False
