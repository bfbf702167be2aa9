"""How many jobs of each type waited in each of the last minutes, from which it is known whether a backlog grows."""

from alembic import op
from sqlalchemy import text

revision = "0020"
down_revision = "0018"

# Where the minutes are, and not where new objects would go: a schema may have come before theirs in the path.
SCHEMA = text("SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'spoils_minutes'::regclass")

BACKLOG = """
CREATE TABLE {schema}.spoils_backlog (
    minute TIMESTAMP WITH TIME ZONE NOT NULL,
    task_type VARCHAR NOT NULL,
    waiting BIGINT NOT NULL,
    counted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (minute, task_type)
)
"""


def upgrade() -> None:
    """Add the table; workers fill it."""
    connection = op.get_bind()
    # Not by text(): the name of a schema may hold a colon.
    connection.exec_driver_sql(BACKLOG.format(schema=connection.scalar(SCHEMA)).replace("%", "%%"))
