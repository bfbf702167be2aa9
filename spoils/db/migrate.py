"""Bringing a database to the schema of this release."""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from spoils.errors import SpoilsError

# Any fixed number: processes that migrate at once queue on it, and all but the first find nothing to do.
MIGRATION_LOCK = 0x5B011
VERSION_TABLE = "spoils_version"


class SchemaBehind(SpoilsError):
    """The database's schema is older than this release."""


def migrate(engine: Engine, *, shared_with_fang: bool = False, revision: str = "head") -> None:
    """Bring the schema to `revision` in one transaction; safe to call from several processes at once."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        command.upgrade(_config(connection, shared_with_fang=shared_with_fang), revision)


def check_schema(engine: Engine) -> None:
    """Raises SchemaBehind where the database lacks a revision of this release; a newer schema is fine."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        standing = context.get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    head = ScriptDirectory.from_config(_config()).get_current_head()
    # A revision that is not known here came with a later release, which runs beside this one while it is rolled out.
    if standing != head and (standing is None or standing in known):
        raise SchemaBehind("The database's schema is older than this release. Run: python -m spoils migrate")


def _config(connection: Connection | None = None, **attributes: object) -> Config:
    config = Config()
    config.set_main_option("script_location", "spoils:migrations")
    config.attributes.update(connection=connection, **attributes)
    return config
