"""A transaction that is begun and ended in SQL, so that its last statement and its COMMIT are one round trip."""

from collections.abc import Mapping
from typing import Any

from psycopg2 import extensions
from psycopg2.extensions import STATUS_BEGIN, TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS
from sqlalchemy import Connection, Engine

from spoils.db.compiled import Compiled, execute


class ExplicitTransaction:
    """One transaction on a connection of `engine`, whose connections are `Driver`s.

    psycopg2 believes that it has none: told of one, it would send a COMMIT of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self.connection: Connection = engine.connect()
        # Kept apart: asking a SQLAlchemy connection that has failed for its driver's one raises.
        self.driver: Any = self.connection.connection.driver_connection

    def begin(self) -> None:
        """Begin it. By itself, so that another thread can cut it off where the server does not answer."""
        self.driver.autocommit = True
        self.connection.begin()
        execute(self.connection, "BEGIN")

    def commit(self) -> None:
        """End it for good."""
        if not self._known:
            execute(self.connection, "COMMIT")
        self._close_books()

    def commit_after(self, statement: Compiled, values: Mapping[str, Any]) -> None:
        """Execute `statement` and commit. Whatever it raises, nothing is committed; what it answers is not heard."""
        if self._known:
            statement.rows(self.connection, values)
        else:
            statement.execute_and_commit(self.connection, values)
        self._close_books()

    def close(self) -> None:
        """Roll back what is not committed, and give the connection back."""
        try:
            if not self.driver.closed and not self._known:
                if self.driver.info.transaction_status != TRANSACTION_STATUS_IDLE:
                    execute(self.connection, "ROLLBACK")
                self.driver.autocommit = False
        except BaseException:
            self.connection.invalidate()  # in the pool it would be taken for one without a transaction
            raise
        finally:
            self.connection.close()

    @property
    def _known(self) -> bool:
        """Whether psycopg2 has come to know of it; see `Driver`."""
        return bool(self.driver.status == STATUS_BEGIN)

    def _close_books(self) -> None:
        self.connection.get_transaction().commit()  # type: ignore[union-attr]


class Driver(extensions.connection):
    """A psycopg2 connection in which cursors of the server and large objects work in an `ExplicitTransaction` too.

    psycopg2 refuses them where it knows of no transaction. It is let begin one then, at which the server warns that
    there is one, and ends it as it always does.
    """

    def cursor(self, name: str | bytes | None = None, *options: Any, **more: Any) -> Any:
        """As psycopg2's; with a name, a cursor of the server."""
        if name is not None:
            self._make_known()
        return super().cursor(name, *options, **more)

    def lobject(self, *options: Any, **more: Any) -> Any:
        """As psycopg2's."""
        self._make_known()
        return super().lobject(*options, **more)

    def _make_known(self) -> None:
        if self.autocommit and self.info.transaction_status == TRANSACTION_STATUS_INTRANS:
            self.autocommit = False
            with super().cursor() as cursor:
                cursor.execute("SELECT")
