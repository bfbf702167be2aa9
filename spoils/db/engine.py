"""How every connection of Spoils is made."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2 import errorcodes
from psycopg2.errors import DeadlockDetected, SerializationFailure
from psycopg2.extensions import PYDATETIMETZ, TRANSACTION_STATUS_IDLE, new_type, register_type
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from spoils.errors import UnsuitableDatabase

LEAST_VERSION = 14_00_00
# A connection whose other end is gone is noticed within about 15 s, on either side.
TCP_RULES: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
}
BELIEVED_SECONDS = 1.0
"""A connection that was used this recently is not pinged, which would cost a round trip for each use."""
DIRECT = "direct"
PLANNED_ONCE = "planned once"
_FIRST_IN_TRANSACTION = "first in transaction"
_IDLE_SINCE = "idle_since"
_READ_ONLY = "read only"
# What the queue's statements mean, and how the driver reads their answers, must not depend on what a role or a database
# sets. The search path stays theirs, and so does default_transaction_read_only: a managed server sets that when its
# disk is full.
RULES = {
    "TimeZone": "'UTC'",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "array_nulls": "on",
    "client_min_messages": "warning",
    "jit": "off",
}
# What only a session of one's own can have.
SESSION_RULES = {
    "default_transaction_isolation": "'read committed'",
    "standard_conforming_strings": "on",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
# A statement whose client is gone ends within a second, and its locks with it. Only servers on Linux can see that while
# they execute; others refuse the setting.
CHECK_CLIENT = (
    "SELECT set_config('client_connection_check_interval', '1000', false) WHERE version() LIKE '%linux%'"
)
# Limits that a role sets are meant for other statements. An idle connection that listens, or a migration of a
# large table, is no mistake.
NO_LIMITS = {"idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0"}
NO_LIMITS_17 = {"transaction_timeout": "0"}
# The queue's own statements find a few hundred rows by their keys. In a table whose statistics are young or old the
# planner now and then prefers to read all of it: 145 ms were seen for a settlement that takes 3.
# So there is one good plan for each, whatever its parameters, and it need not be made anew at each execution.
BY_INDEX = {
    **dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin"), "off"),
    "plan_cache_mode": "force_generic_plan",
}
# Pages take the first rows of an index. Where the planner takes them for few it would rather gather all and sort them:
# for what comes next it read 5,400 blocks of a table where the index leads to 430. And more cores for a page would be
# taken from the jobs.
BY_ORDER = {"enable_seqscan": "off", "enable_bitmapscan": "off", "max_parallel_workers_per_gather": "0"}


def engine_options(
    *,
    connections: int,
    application_name: str,
    pool_timeout: float = 10.0,
) -> dict[str, Any]:
    """Options for `create_engine` or Flask-SQLAlchemy: at most `connections`; `obey_rules` goes with them."""
    return {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": pool_timeout,
        "pool_recycle": 3600,
        "connect_args": {
            **TCP_RULES,
            "client_encoding": "utf8",
            "application_name": application_name,
        },
    }


def driver_url(url: str) -> str:
    """A PostgreSQL URL with the driver named, which SQLAlchemy needs since its default is another one."""
    return f"postgresql+psycopg2://{url.partition('://')[2]}"


def make_engine(
    url: str,
    *,
    autocommit: bool = False,
    by_index: bool = False,
    ping: bool = True,
    lock_timeout_ms: int = 0,
    statement_timeout_ms: int = 0,
    **options: Any,
) -> Engine:
    """An engine under the rules of this room; see `engine_options` for the options.

    With `autocommit` each statement has its own commit; see `transaction` for several. `by_index` keeps the planner
    from reading whole tables, and lets it plan each statement of the queue once. `ping` checks connections that were
    idle. `lock_timeout_ms` bounds how long a statement waits for a row that another session has locked; 0 is no bound.
    """
    level = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    engine = create_engine(driver_url(url), **level, **engine_options(**options))
    obey_rules(
        engine,
        by_index=by_index,
        ping=ping,
        lock_timeout_ms=lock_timeout_ms,
        statement_timeout_ms=statement_timeout_ms,
    )
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction on an engine made with `autocommit`; an error of any kind ends its connection too."""
    # In SQL: an isolation level as an option is reset when the connection is returned to the pool. If the connection
    # is broken, that reset raises, and the pool never gets its place back.
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        try:
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            connection.invalidate()
            raise


def obey_rules(
    engine: Engine,
    *,
    by_index: bool = False,
    by_order: bool = False,
    ping: bool = True,
    lock_timeout_ms: int = 0,
    statement_timeout_ms: int = 0,
    keep_role_limits: bool = False,
) -> None:
    """Set the server's side of the rules on each new connection of `engine`, and replace those that are of no more use.

    `by_index` and `by_order` keep the planner from reading whole tables, and `by_order` from what it would sort.
    `keep_role_limits` leaves all timeouts as the role has them.
    """
    limits = {
        "lock_timeout": str(lock_timeout_ms),
        "statement_timeout": str(statement_timeout_ms),
        **NO_LIMITS,
    }
    planning = {**(BY_INDEX if by_index else {}), **(BY_ORDER if by_order else {})}

    # Before SQLAlchemy's own queries.
    event.listen(engine, "connect", _refuse_unsuitable, insert=True)

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        register_type(_MOMENT, connection)  # type: ignore[arg-type]
        record.info[_READ_ONLY] = takes_no_writes(connection)
        cursor = connection.cursor()
        cursor.execute("SELECT pg_backend_pid()")
        (backend_pid,) = cursor.fetchone() or (None,)
        direct = record.info[DIRECT] = backend_pid == connection.info.backend_pid
        record.info[PLANNED_ONCE] = direct and by_index
        rules = dict(RULES)
        if not keep_role_limits:
            rules |= limits | (NO_LIMITS_17 if connection.info.server_version >= 17_00_00 else {})
        if direct:
            cursor.execute(_set("SET", SESSION_RULES | rules | planning) + CHECK_CLIENT)
        else:
            # A pooler hands the session on to others after each transaction: what outlives it would be theirs.
            # The isolation comes first, since nothing may be executed before it.
            record.info[_FIRST_IN_TRANSACTION] = _set(
                "SET LOCAL", {"transaction_isolation": "'read committed'"} | rules
            )
        cursor.close()
        connection.commit()

    if not keep_role_limits:
        _begin_with_rules(engine)
    _replace_useless(engine, ping=ping)


def _refuse_unsuitable(driver: Any, _record: ConnectionPoolEntry) -> None:
    if driver.info.server_version < LEAST_VERSION:
        raise UnsuitableDatabase(
            f"The server is PostgreSQL {driver.info.server_version // 1_00_00}. Spoils needs "
            f"{LEAST_VERSION // 1_00_00} or newer."
        )
    encoding = driver.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise UnsuitableDatabase(
            f"The database's encoding is {encoding}. Spoils needs UTF8: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )


def _set(command: str, settings: dict[str, str]) -> str:
    return "".join([f"{command} {name} = {value}; " for name, value in settings.items()])


def _begin_with_rules(engine: Engine) -> None:
    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def executing(
        connection: Connection, cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        rules = first_in_transaction(connection)
        if rules and not cursor.name and cursor.connection.info.transaction_status == TRANSACTION_STATUS_IDLE:
            statement = rules + statement
        return statement, parameters


def _replace_useless(engine: Engine, *, ping: bool) -> None:
    @event.listens_for(engine, "checkin")
    def given_back(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info[_IDLE_SINCE] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def taken(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        now = time.monotonic()
        if ping and now - record.info.get(_IDLE_SINCE, now) > BELIEVED_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except psycopg2.Error as exc:
                raise InvalidatePoolError from exc
        # After a failover the name leads to another server, while connections to the former one stay open. Or a job has
        # made its session read-only by default: that says nothing of the others.
        if takes_no_writes(connection) and not record.info[_READ_ONLY]:
            raise InvalidatePoolError if _is_standby(connection) else DisconnectionError

    @event.listens_for(engine, "handle_error")
    def failed(context: ExceptionContext) -> None:
        if refused_by_read_only_server(context.original_exception):
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = _is_the_server_s(context)


def _is_standby(driver: Any) -> bool:
    return bool(driver.info.parameter_status("in_hot_standby") == "on")


def _is_the_server_s(context: ExceptionContext) -> bool:
    """Whether a server that takes no writes would refuse them to all: no job had made this session read-only."""
    error: Any = context.original_exception
    if _is_standby(error.cursor.connection):
        return True
    return context.connection is not None and bool(context.connection.info.get(_READ_ONLY))


def takes_no_writes(driver: Any) -> bool:
    """Whether the server has said, with its last answer, that it is a standby or read-only by default."""
    # The server reports both unasked; no statement is needed, which a failed transaction would not take.
    reported = driver.info.parameter_status
    return "on" in (reported("in_hot_standby"), reported("default_transaction_read_only"))


def refused_by_read_only_server(error: BaseException) -> bool:
    """Whether a write was refused because the server takes none; not where the transaction alone is read-only."""
    return (
        isinstance(error, psycopg2.Error)
        and error.pgcode == errorcodes.READ_ONLY_SQL_TRANSACTION
        and error.cursor is not None
        and takes_no_writes(error.cursor.connection)
    )


def was_rolled_back(error: DBAPIError) -> bool:
    """Whether the server has undone the transaction for the sake of another one, so that it may be tried again."""
    return isinstance(error.orig, (SerializationFailure, DeadlockDetected))


def first_in_transaction(connection: Connection) -> str:
    """What goes before the first statement of each transaction, in the same text: the rules, behind a pooler."""
    text: str = connection.info.get(_FIRST_IN_TRANSACTION, "")
    return text


def is_direct(connection: Connection) -> bool:
    """Whether we talk to the server itself. Through a pooler, locks and LISTEN would be taken and mean nothing."""
    return bool(connection.info.get(DIRECT))


def is_planned_once(connection: Connection) -> bool:
    """Whether statements are worth preparing. What is prepared through a pooler, another session may be asked for."""
    return bool(connection.info.get(PLANNED_ONCE))


def _moment(value: str | bytes | None, cursor: Any) -> datetime | None:
    """A timestamptz; one beyond Python's years is its first or last moment, as the infinite ones are."""
    try:
        moment: datetime | None = PYDATETIMETZ(value, cursor)
    except ValueError:
        return FIRST_MOMENT if str(value).endswith("BC") else LAST_MOMENT
    return moment


FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
LAST_MOMENT = datetime.max.replace(tzinfo=UTC)
# A row put in with psql may hold any moment; one that cannot be read would end every claim that comes upon it.
_MOMENT = new_type((1184,), "MOMENT", _moment)
