"""The dialect of the sessions of jobs: savepoints by the driver alone, and the first of them with the BEGIN."""

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from spoils.db.compiled import execute

NAME = "spoils"
"""Its name in a URL, `postgresql+spoils://`."""


class Dialect(PGDialect_psycopg2):
    """psycopg2's, for connections that are `Driver`s. A savepoint by way of SQLAlchemy costs the interpreter more than
    the completion of a job."""

    supports_statement_cache = True

    def do_savepoint(self, connection: Connection, name: str) -> None:
        """Make one, unless the transaction began with it."""
        driver: Any = connection.connection.driver_connection
        if getattr(driver, "savepoint", None) == name:  # a job may make an engine of its own by this URL
            driver.savepoint = None
        else:
            _execute(connection, f"SAVEPOINT {name}")

    def do_rollback_to_savepoint(self, connection: Connection, name: str) -> None:
        """Undo what came after it."""
        _execute(connection, f"ROLLBACK TO SAVEPOINT {name}")

    def do_release_savepoint(self, connection: Connection, name: str) -> None:
        """Keep what came after it."""
        _execute(connection, f"RELEASE SAVEPOINT {name}")


def _execute(connection: Connection, statement: str) -> None:
    try:
        execute(connection, statement)
    except Exception:
        raise
    except BaseException as exc:
        connection.invalidate(exc)  # an interruption: nobody knows whether it was carried out
        raise


registry.register(f"postgresql.{NAME}", __name__, Dialect.__name__)
