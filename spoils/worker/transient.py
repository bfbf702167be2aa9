"""Tells errors of the database or its server from errors of the job."""

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from spoils.queue.finish import TaskLocked

# SQLSTATEs that say nothing about the job.
TRANSIENT = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "08000",  # connection_exception
    "08003",  # connection_does_not_exist
    "08006",  # connection_failure
    "53300",  # too_many_connections
    "26000",  # invalid_sql_statement_name: the job has deallocated what finishes it
}
ROW_CLASSES = (
    "22",  # data exceptions
    "23",  # integrity constraint violations
)
TRIGGER_CLASS = "P0"
"""Errors that a trigger raises; they may concern one row, or every row."""


def is_transient(error: BaseException) -> bool:
    """Whether the session failed for a reason that is not the job's."""
    if isinstance(error, PoolTimeout | TaskLocked):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "pgcode", None)
    # psycopg2 has no code for a connection that broke or could not be made.
    return error.connection_invalidated or code in TRANSIENT or (code is None and _no_connection(error))


def refuses_the_row(error: DBAPIError) -> bool:
    """Whether the server refused the values, and would refuse them again. Other errors are due to the server's state:
    read-only, disk full, missing rights.
    """
    return not error.connection_invalidated and _class_of(error) in ROW_CLASSES


def may_be_of_one_row(error: DBAPIError) -> bool:
    """Whether the other rows of the statement may be written though it failed."""
    return refuses_the_row(error) or _class_of(error) == TRIGGER_CLASS


def _class_of(error: DBAPIError) -> str:
    return str(getattr(error.orig, "pgcode", None) or "")[:2]


def _no_connection(error: DBAPIError) -> bool:
    return type(error.orig).__name__ == "OperationalError"
