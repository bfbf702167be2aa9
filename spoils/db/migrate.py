"""Bringing a database to the schema of this release."""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, column, select, table, text
from sqlalchemy.exc import OperationalError

from spoils.db import sharing
from spoils.errors import SpoilsError

# Any fixed number: processes that migrate at once queue on it, and all but the first find nothing to do.
MIGRATION_LOCK = 0x5B011


class SchemaBehind(SpoilsError):
    """The database's schema is older than this release."""


class TableBusy(SpoilsError):
    """Another session holds a lock on a table for longer than others should wait behind a migration."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of revisions with a version table of its own. They are the modules of `versions` in `package`."""

    package: str
    version_table: str

    def revisions(self) -> list[str]:
        """The revisions of this release, in their order, by the names of their files: `r0011_queue.py` is 0011."""
        versions = importlib.import_module(f"{self.package}.versions")
        files = [module.name for module in pkgutil.iter_modules(versions.__path__)]
        return sorted(name.removeprefix("r").partition("_")[0] for name in files)

    def current(self, connection: Connection) -> str | None:
        """The revision that the database is at; None where it has none of this branch."""
        if connection.scalar(text("SELECT to_regclass(:name)"), {"name": self.version_table}) is None:
            return None
        return connection.scalar(select(column("version_num")).select_from(table(self.version_table)))


QUEUE = Branch("spoils.migrations", "spoils_version")


def migrate(engine: Engine, *, branches: Sequence[Branch] = (), shared_with_fang: bool = False) -> str | None:
    """Bring the queue's schema to this release, then that of `branches`, all in one transaction.

    Several processes may do it at once. A table that is `shared_with_fang` gets its guard, until `sharing.end`. A
    schema that is newer than this release stays as it is: its revision is returned. Raises TableBusy and ForeignTable,
    with nothing changed.
    """
    newer: str | None = None
    with changing(engine) as connection:
        for branch in (QUEUE, *branches):
            current = branch.current(connection)
            if _is_newer(branch, current):
                newer = newer or current
            else:
                _upgrade(connection, branch, current, shared_with_fang)
        if shared_with_fang and not newer:
            sharing.begin(connection)
    return newer


def _upgrade(connection: Connection, branch: Branch, current: str | None, shared_with_fang: bool) -> None:
    # Imported here: a worker only reads the schema's revision, and would keep ten megabytes of Alembic for that.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    from spoils.migrations.older_commits import take_over  # noqa: PLC0415

    if branch == QUEUE and current is not None:
        take_over(connection, current)
    config = Config()
    config.set_main_option("script_location", "spoils:migrations")
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{branch.package}:versions")
    config.attributes.update(
        connection=connection, version_table=branch.version_table, shared_with_fang=shared_with_fang
    )
    command.upgrade(config, "head")


@contextmanager
def changing(engine: Engine) -> Iterator[Connection]:
    """One transaction that changes the schema, by one process at a time. Raises TableBusy, with nothing changed."""
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            # Every other session waits behind one that waits for a table: not for as long as a dump takes.
            connection.execute(text("SET LOCAL lock_timeout = '3s'"))
            yield connection
    except OperationalError as exc:
        if isinstance(exc.orig, LockNotAvailable):
            raise TableBusy(
                "Somebody else holds a table of the queue, such as a dump or a long transaction. Nothing was changed: "
                "run it again when that is over."
            ) from exc
        raise


def check_schema(engine: Engine, branches: Sequence[Branch] = ()) -> None:
    """Raises SchemaBehind where the database lacks a revision of this release; a newer schema is fine."""
    with engine.connect() as connection:
        for branch in (QUEUE, *branches):
            current = branch.current(connection)
            if current != branch.revisions()[-1] and not _is_newer(branch, current):
                raise SchemaBehind(
                    "The database's schema is older than this release. Run: python -m spoils migrate"
                )


def _is_newer(branch: Branch, current: str | None) -> bool:
    # It came with a later release, which runs beside this one while it is rolled out, or did so before this one was
    # restored.
    return current is not None and current > branch.revisions()[-1]
