"""Telling a trouble of the database's from one of the job's."""

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# Classes of the standard and of PostgreSQL's appendix A: nothing is wrong with the job when it meets one of them.
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
}


def is_transient(error: BaseException) -> bool:
    """Whether a session failed for a reason that has nothing to do with what the job did."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "pgcode", None)
    # psycopg2 has no code for a connection that broke or could not be made.
    return error.connection_invalidated or code in TRANSIENT or (code is None and _no_connection(error))


def _no_connection(error: DBAPIError) -> bool:
    return type(error.orig).__name__ == "OperationalError"
