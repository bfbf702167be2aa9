"""Logging errors that repeat: each kind at once and once a minute while it lasts, and one line when all is over."""

import logging
import threading
import time
from collections.abc import Hashable

import psycopg2
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from spoils.errors import DatabaseAway

log = logging.getLogger("spoils.db")

AGAIN_SECONDS = 60.0
QUIET_SECONDS = 10.0
"""Trouble is over after this time without an error. Loops back off for 6 s at most, so none is still to try again."""

# Classes of PostgreSQL's appendix A in which the server cannot work for anybody: connections, resources, shutdown.
_UNAVAILABLE = ("08", "53", "57P", "25006")


class Trouble:
    """Counts the errors of `name` and decides which of them is logged. `now` is in monotonic seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._errors = 0
        self._began_at = 0.0
        self._latest_at = 0.0
        self._logged_at: dict[Hashable, float] = {}  # by kind

    def met(self, now: float, kind: Hashable = None) -> str | None:
        """Count an error. Returns what to add to its log line, which is empty for the first of its kind; None: do not
        log it.
        """
        with self._lock:
            if not self._errors:
                self._began_at = now
            self._errors += 1
            self._latest_at = now
            logged_at = self._logged_at.get(kind)
            if logged_at is not None and now - logged_at < AGAIN_SECONDS:
                return None
            self._logged_at[kind] = now
            return "" if logged_at is None else f" ({self._summary()})"

    def over(self, now: float) -> str | None:
        """Tell that something went well. Returns what there was, once, when that ends the trouble."""
        if not self._errors:  # without the lock: this is called after each claim
            return None
        with self._lock:
            if not self._errors or now - self._latest_at < QUIET_SECONDS:
                return None
            summary = self._summary()
            self._errors = 0
            self._logged_at.clear()
            return summary

    def _summary(self) -> str:
        count = "1 error" if self._errors == 1 else f"{self._errors} errors"
        return f"{count} in {self._latest_at - self._began_at:.0f} s"


OUTAGE = Trouble("database")
"""Every loop of the process meets the same outage: it is logged once, and not by each of them."""


def log_error(trouble: Trouble, error: Exception) -> None:
    """Log an error that may repeat; the first of its kind with its traceback, unless it is the database's outage."""
    if logged_as_outage(trouble.name, error):
        return
    note = trouble.met(time.monotonic(), _kind_of(error))
    if note is not None:
        log.warning(
            "%s: %s: %s%s",
            trouble.name,
            type(error).__name__,
            error,
            note,
            extra={"action": "error"},
            exc_info=None if note else error,
        )


def log_success(trouble: Trouble) -> None:
    """Log that what had failed works again, once it has done so for a while."""
    if note := trouble.over(time.monotonic()):
        log.warning("%s works again after %s", trouble.name, note, extra={"action": "error"})


def is_outage(error: BaseException) -> bool:
    """Whether the database is unavailable, as opposed to refusing this statement."""
    if isinstance(error, (DatabaseAway, PoolTimeout)):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    driver = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(driver, psycopg2.Error):
        return False
    if driver.pgcode is None:  # psycopg2 has no code for a connection that broke or could not be made
        return isinstance(driver, (psycopg2.OperationalError, psycopg2.InterfaceError))
    return driver.pgcode.startswith(_UNAVAILABLE)


def _kind_of(error: BaseException) -> Hashable:
    """What two errors have in common that are logged as one: their class, their SQLSTATE and where they were raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = trace and (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return type(error), _sqlstate(error), place


def _kind_of_outage(error: BaseException) -> Hashable:
    """The SQLSTATE, but for connections that were lost or could not be made: there one outage has many errors."""
    code = _sqlstate(error)
    return None if code is None or code.startswith(("08", "57P")) else code


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "pgcode", None)


def logged_as_outage(name: str, error: BaseException) -> bool:
    """Whether an error of `name` is the database's outage, whose log lines are then taken care of."""
    if not is_outage(error):
        return False
    if (note := OUTAGE.met(time.monotonic(), _kind_of_outage(error))) is not None:
        cause = error.orig if isinstance(error, DBAPIError) else error
        message = str(cause).partition("\n")[0]
        log.warning("Database unavailable (%s): %s%s", name, message, note, extra={"action": "error"})
    return True


def database_answers() -> None:
    """Log the end of an outage. Called where the database has just carried out a write."""
    if note := OUTAGE.over(time.monotonic()):
        log.warning("Database available again after %s", note, extra={"action": "error"})
