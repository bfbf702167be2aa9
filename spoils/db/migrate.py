"""Bringing a database to the schema of this release."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from spoils.errors import SpoilsError

# Any fixed number: processes that migrate at once queue on it, and all but the first find nothing to do.
MIGRATION_LOCK = 0x5B011


class SchemaBehind(SpoilsError):
    """The database's schema is older than this release."""


def migrate(engine: Engine, *, shared_with_fang: bool = False, revision: str = "head") -> None:
    """Bring the schema to `revision` in one transaction; safe to call from several processes at once."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        command.upgrade(_config(connection, shared_with_fang=shared_with_fang), revision)


def _config(connection: Connection, **attributes: object) -> Config:
    config = Config()
    config.set_main_option("script_location", "spoils:migrations")
    config.attributes.update(connection=connection, **attributes)
    return config
