"""How every connection of Spoils is made."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from psycopg2.extensions import PYDATETIMETZ, new_type, register_type
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

# A connection whose other end is gone is noticed within about 15 s, whoever waits on whom.
TCP_RULES: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
}
SERVER_RULES = (
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; "
    "SET tcp_user_timeout = 15000; SET client_min_messages = warning; SET timezone = 'UTC'"
)


def engine_options(
    *,
    connections: int,
    application_name: str,
    statement_timeout_ms: int | None = None,
    pool_timeout: float = 10.0,
) -> dict[str, Any]:
    """Options for `create_engine` or Flask-SQLAlchemy: at most `connections`, each checked before use."""
    connect_args = {**TCP_RULES, "application_name": application_name}
    if statement_timeout_ms:
        connect_args["options"] = f"-c statement_timeout={statement_timeout_ms}"
    return {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": pool_timeout,
        "pool_pre_ping": True,
        "pool_recycle": 3600,
        "connect_args": connect_args,
    }


def driver_url(url: str) -> str:
    """A PostgreSQL URL with the driver named, which SQLAlchemy needs since its default is another one."""
    return f"postgresql+psycopg2://{url.partition('://')[2]}"


def make_engine(url: str, *, lock_timeout_ms: int | None = None, **options: Any) -> Engine:
    """An engine under the rules of this room; see `engine_options` for the options.

    `lock_timeout_ms` bounds how long a statement waits for a row that somebody else has locked.
    """
    engine = create_engine(driver_url(url), **engine_options(**options))
    obey_rules(engine, also=f"; SET lock_timeout = {lock_timeout_ms:d}" if lock_timeout_ms else "")
    return engine


def obey_rules(engine: Engine, *, also: str = "") -> None:
    """Set the server's side of the rules on each new connection of `engine`."""

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _record: Any) -> None:
        register_type(_MOMENT, connection)  # type: ignore[arg-type]
        cursor = connection.cursor()
        cursor.execute(SERVER_RULES + also)
        cursor.close()
        connection.commit()


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


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction, committed at the end of the block, also on an engine whose every statement is its own.

    It is set on the connection: of an engine's options the ones given first win, and a second engine made from an
    AUTOCOMMIT one with other options would silently stay AUTOCOMMIT.
    """
    with engine.connect() as connection:
        connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            yield connection
