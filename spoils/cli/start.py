"""What every program and command does first, and how it ends where that fails."""

import logging
import select
import sys
from collections.abc import Callable, Sequence

import psycopg2
from psycopg2.errors import InsufficientPrivilege, ReadOnlySqlTransaction
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, OperationalError

from spoils import log_format
from spoils.cli.composition import branches
from spoils.config import NOTIFY_PREFIX, OTHERS, Settings, misspelt
from spoils.db.engine import make_engine
from spoils.db.migrate import Branch, check_schema, migrate
from spoils.db.refusal import is_final
from spoils.db.url import database_url
from spoils.errors import DatabaseAway, SettingError, SpoilsError
from spoils.job.definition import is_async
from spoils.job.discovery import load
from spoils.job.policies import COMMON
from spoils.job.registry import registry
from spoils.notifications import check_url

log = logging.getLogger("spoils")

# What the database refuses for a reason that its operator can mend; any other error of it is a mistake of this program.
REFUSALS = (psycopg2.OperationalError, InsufficientPrivilege, ReadOnlySqlTransaction)
PAUSE_SECONDS = 1.0
"""Between two tries at a database that does not answer at the start. Jobs wait until a worker sees that it is back."""


def begin(*, development: bool = False) -> Settings:
    """Read the settings, set up the log, and load the job classes."""
    settings = Settings.from_env(development=development)
    log_format.set_up(settings.log_level, tracebacks=settings.development)
    for name, meant in misspelt().items():
        log.warning("%s is not a setting. Did you mean %s?", name, meant, extra={"action": "start"})
    load(settings.jobs)
    registry.compares_payloads = settings.development
    return settings


def guarded(program: Callable[[], int]) -> int:
    """Run `program`; what Spoils raises on purpose, and what the database refuses, becomes a sentence on standard error
    and exit code 2.
    """
    try:
        return program()
    except SpoilsError as exc:
        print(exc, file=sys.stderr)
    except DBAPIError as exc:
        if not isinstance(exc.orig, REFUSALS):
            raise
        print(_refusal(exc), file=sys.stderr)
    return 2


def check_worker_settings(settings: Settings) -> None:
    """Raises SettingError where a worker could start with them, but not do its work."""
    for kind, url in settings.notify_urls.items():
        if wrong := check_url(url):
            raise SettingError(f"{NOTIFY_PREFIX}{kind.upper()} is wrong: {wrong}")
    if settings.alert_url and (wrong := check_url(settings.alert_url)):
        raise SettingError(f"SPOILS_ALERT_URL is wrong: {wrong}")
    known = {*registry.task_types(), COMMON}
    async_types = {one.task_type for one in registry if is_async(one)} - {COMMON}
    for task_type in settings.worker_threads:
        if task_type in async_types:
            raise SettingError(
                f'WORKER_THREADS is wrong: the event loop runs the jobs of "{task_type}", which are async.'
            )
        if task_type not in {*known, OTHERS}:
            raise SettingError(
                f'WORKER_THREADS is wrong: no job class has the task type "{task_type}". '
                f"There are: {', '.join(sorted(known))}."
            )
    for task_type in settings.worker_task_types or ():
        if task_type not in known:
            raise SettingError(
                f'WORKER_TASK_TYPES is wrong: no job class has the task type "{task_type}". '
                f"There are: {', '.join(sorted(known))}."
            )


def ready_url(settings: Settings) -> str:
    """The database's URL. The embedded database belongs to this clone alone, so its schema is brought up to date."""
    url = database_url(settings)
    if settings.database_url is None:
        engine = starting_engine(url)
        migrate(engine, branches=branches(settings))
        engine.dispose()
    return url


def starting_engine(url: str) -> Engine:
    """An engine with one connection, for what is checked or done before the work begins.

    Raises SettingError where a connection is refused for a reason that lasts.
    """
    engine = make_engine(url, connections=1, application_name="spoils:start")

    @event.listens_for(engine, "handle_error")
    def failed(context: ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if context.connection is None and isinstance(error, OperationalError):
            reason = _reason(error)
            if getattr(error.orig, "pgcode", None) is None and is_final(url, reason):
                raise SettingError(f"DATABASE_URL is wrong: {reason}")

    return engine


def check_database(settings: Settings) -> None:
    """Raises SettingError or SchemaBehind where the web would serve nothing; one that does not answer may come back."""
    if settings.database_url is None:
        return  # the embedded one, which is brought up to date on the way
    engine = starting_engine(settings.database_url)
    try:
        check_schema(engine, branches(settings))
    except OperationalError as exc:
        log.warning("The database does not answer yet: %s", _reason(exc), extra={"action": "start"})
    finally:
        engine.dispose()


def await_schema(engine: Engine, wanted: Sequence[Branch] = (), *, parent: int | None = None) -> None:
    """Wait for a database that does not answer yet, or refuses one more connection while a release rolls over.

    `parent` is a file descriptor that ends when the parent process does: then there is no reason to wait.
    """
    logged = ""
    while True:
        try:
            check_schema(engine, wanted)
        except OperationalError as exc:
            reason = _reason(exc)
            if reason != logged:
                log.warning("The database does not answer yet: %s", reason, extra={"action": "start"})
                logged = reason
            if select.select([] if parent is None else [parent], [], [], PAUSE_SECONDS)[0]:
                raise DatabaseAway("The parent process has ended before the database answered.") from exc
        else:
            return


def _refusal(error: DBAPIError) -> str:
    reason = _reason(error)
    if isinstance(error.orig, InsufficientPrivilege):
        return (
            f"The database refuses the role of DATABASE_URL: {reason}. "
            "Let the owner of that GRANT the role the right, or name another role."
        )
    if isinstance(error.orig, ReadOnlySqlTransaction):
        return f"DATABASE_URL leads to a server that takes no writes: {reason}. Name the primary."
    if getattr(error.orig, "pgcode", None):
        return f"The database refuses: {reason}"
    return f"The database of DATABASE_URL does not answer: {reason}"


def _reason(error: DBAPIError) -> str:
    # Where the server has answered to a statement, what follows the message points into its text.
    primary = isinstance(error.orig, psycopg2.Error) and error.orig.diag.message_primary
    return " ".join((primary or str(error.orig)).split())
