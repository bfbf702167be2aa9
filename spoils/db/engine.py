"""How every connection of Spoils is made."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2 import extensions
from psycopg2.extensions import PYDATETIMETZ, new_type, register_type
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

# A connection whose other end is gone is noticed within about 15 s, whoever waits on whom.
TCP_RULES: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
}
BELIEVED_SECONDS = 1.0
"""A connection that was in use so lately is not asked whether it lives: that is a round trip for each use."""
DIRECT = "direct"
PLANNED_ONCE = "planned once"
_IDLE_SINCE = "idle_since"
SERVER_RULES = (
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; "
    "SET tcp_user_timeout = 15000; SET client_min_messages = warning; SET timezone = 'UTC'; SET jit = off; "
    # A statement whose client is gone ends within a second, and its locks with it. Only servers on Linux can see that
    # while they execute; others refuse the setting, and those before PostgreSQL 14 do not have it.
    "SELECT set_config('client_connection_check_interval', '1000', false) WHERE version() LIKE '%linux%' "
    "AND current_setting('client_connection_check_interval', true) IS NOT NULL"
)
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
    connection_factory: type[extensions.connection] | None = None,
) -> dict[str, Any]:
    """Options for `create_engine` or Flask-SQLAlchemy: at most `connections`; `obey_rules` goes with them."""
    return {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": pool_timeout,
        "pool_recycle": 3600,
        "connect_args": {
            **TCP_RULES,
            "application_name": application_name,
            "connection_factory": connection_factory,
        },
    }


def driver_url(url: str, dialect: str = "psycopg2") -> str:
    """A PostgreSQL URL with the driver named, which SQLAlchemy needs since its default is another one."""
    return f"postgresql+{dialect}://{url.partition('://')[2]}"


def make_engine(
    url: str,
    *,
    autocommit: bool = False,
    by_index: bool = False,
    ping: bool = True,
    lock_timeout_ms: int | None = None,
    statement_timeout_ms: int | None = None,
    **options: Any,
) -> Engine:
    """An engine under the rules of this room; see `engine_options` for the options.

    With `autocommit` each statement commits by itself; see `transaction` for several. `by_index` keeps the planner from
    reading whole tables, and lets it plan each statement of the queue once. `ping` checks connections that have lain
    idle. `lock_timeout_ms` bounds how long a statement waits for a row that somebody else has locked.
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
    # In SQL, since an isolation level as an option would be reset when the connection is given back: where that
    # connection is broken, the reset raises, and the pool never gets its place back.
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
    lock_timeout_ms: int | None = None,
    statement_timeout_ms: int | None = None,
) -> None:
    """Set the server's side of the rules on each new connection of `engine`, and check those that have lain idle.

    `by_index` and `by_order` keep the planner from reading whole tables, and `by_order` from what it would sort.
    """
    if ping:
        _ping_idle(engine)
    settings = {
        "lock_timeout": lock_timeout_ms,
        "statement_timeout": statement_timeout_ms,
        **(BY_INDEX if by_index else {}),
        **(BY_ORDER if by_order else {}),
    }
    wanted = [f"{name} = {value}" for name, value in settings.items() if value]

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        register_type(_MOMENT, connection)  # type: ignore[arg-type]
        cursor = connection.cursor()
        cursor.execute(f"{SERVER_RULES}; SELECT pg_backend_pid()")
        (backend_pid,) = cursor.fetchone() or (None,)
        direct = record.info[DIRECT] = backend_pid == connection.info.backend_pid
        record.info[PLANNED_ONCE] = direct and by_index
        if direct:
            for setting in wanted:
                cursor.execute(f"SET {setting}")
        cursor.close()
        connection.commit()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A pooler hands the session on to others after each transaction: what outlives it would be theirs.
        if statement_timeout_ms and not connection.info.get(DIRECT, True):
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {statement_timeout_ms}")


def _ping_idle(engine: Engine) -> None:
    @event.listens_for(engine, "checkin")
    def given_back(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info[_IDLE_SINCE] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def taken(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        now = time.monotonic()
        if now - record.info.get(_IDLE_SINCE, now) > BELIEVED_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except psycopg2.Error as exc:
                raise InvalidatePoolError from exc


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
        return _FIRST if str(value).endswith("BC") else _LAST
    return moment


_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
# A row put in with psql may hold any moment; one that cannot be read would end every claim that comes upon it.
_MOMENT = new_type((1184,), "MOMENT", _moment)
