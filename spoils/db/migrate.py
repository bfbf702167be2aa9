"""Bringing a database to the schema of this release."""

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from spoils.db import sharing
from spoils.errors import SpoilsError
from spoils.migrations import versions

# Any fixed number: processes that migrate at once queue on it, and all but the first find nothing to do.
MIGRATION_LOCK = 0x5B011


class SchemaBehind(SpoilsError):
    """The database's schema is older than this release."""


class TableBusy(SpoilsError):
    """Somebody else holds a lock on a table for longer than others should wait behind a migration."""


def migrate(engine: Engine, *, shared_with_fang: bool = False, revision: str = "head") -> str | None:
    """Bring the schema to `revision` in one transaction; safe to call from several processes at once.

    A table that is `shared_with_fang` gets its guard, until `sharing.end`. A schema that is newer than this release
    stays as it is: its revision is returned. Raises TableBusy, with nothing changed.
    """
    # Imported here: a worker only looks at the schema, and would keep ten megabytes of Alembic for that.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "spoils:migrations")
    with changing(engine) as connection:
        standing = _standing(connection)
        if _is_newer(standing):
            return standing
        config.attributes.update(
            connection=connection, shared_with_fang=shared_with_fang, adopted=_adopts(connection)
        )
        command.upgrade(config, revision)
        if shared_with_fang:
            sharing.begin(connection)
    return None


@contextmanager
def changing(engine: Engine) -> Iterator[Connection]:
    """One transaction that changes the schema, by one process at a time. Raises TableBusy, with nothing changed."""
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            # Behind one who waits for a table all others wait too: not for as long as a dump takes.
            connection.execute(text("SET LOCAL lock_timeout = '3s'"))
            yield connection
    except OperationalError as exc:
        if isinstance(exc.orig, LockNotAvailable):
            raise TableBusy(
                "Somebody else holds a table of the queue, such as a dump or a long transaction. Nothing was changed: "
                "run it again when that is over."
            ) from exc
        raise


def _adopts(connection: Connection) -> bool | None:
    """Whether the first revision takes over a table that is there; None where it has been applied already."""
    found: bool | None = connection.scalar(
        text("SELECT to_regclass('fang_tasks') IS NOT NULL WHERE to_regclass('spoils_version') IS NULL")
    )
    return found


def check_schema(engine: Engine) -> None:
    """Raises SchemaBehind where the database lacks a revision of this release; a newer schema is fine."""
    with engine.connect() as connection:
        standing = _standing(connection)
    if standing != revisions()[-1] and not _is_newer(standing):
        raise SchemaBehind("The database's schema is older than this release. Run: python -m spoils migrate")


def _standing(connection: Connection) -> str | None:
    migrated = connection.scalar(text("SELECT to_regclass('spoils_version') IS NOT NULL"))
    return connection.scalar(text("SELECT version_num FROM spoils_version")) if migrated else None


def _is_newer(standing: str | None) -> bool:
    # A revision that is not known here came with a later release, which runs beside this one while it is rolled out,
    # or did so before this one was restored.
    return standing is not None and standing not in revisions()


def revisions() -> list[str]:
    """The revisions of this release, in their order, by the names of their files: `r0001_queue.py` is 0001."""
    files = [module.name for module in pkgutil.iter_modules(versions.__path__)]
    return sorted(name.removeprefix("r").partition("_")[0] for name in files)
