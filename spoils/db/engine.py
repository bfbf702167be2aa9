"""How every connection of Spoils is made."""

from typing import Any

from sqlalchemy import Engine, create_engine, event
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
    "SET client_min_messages = warning; SET timezone = 'UTC'"
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


def make_engine(url: str, **options: Any) -> Engine:
    """An engine under the rules of this room; see `engine_options` for the options."""
    engine = create_engine(driver_url(url), **engine_options(**options))
    obey_rules(engine)
    return engine


def obey_rules(engine: Engine) -> None:
    """Set the server's side of the rules on each new connection of `engine`."""

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(SERVER_RULES)
        cursor.close()
        connection.commit()
