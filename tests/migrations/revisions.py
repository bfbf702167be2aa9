"""Databases at an earlier revision of the queue's schema."""

from unittest.mock import patch

from alembic import command
from sqlalchemy import Engine

from spoils.db.migrate import migrate


def migrate_to(engine: Engine, revision: str) -> None:
    """Bring the schema to this revision, as the release that had it would."""
    upgrade = command.upgrade
    with patch.object(command, "upgrade", lambda config, _head: upgrade(config, revision)):
        migrate(engine)
