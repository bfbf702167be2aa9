"""What attempts report while they run: their progress and their last log lines."""

from alembic import op
from sqlalchemy import text

revision = "0022"
down_revision = "0020"

# Where the attempts are, and not where new objects would go: a schema may have come before theirs in the path.
SCHEMA = text("SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'spoils_attempts'::regclass")

OUTPUTS = """
CREATE TABLE {schema}.spoils_outputs (
    task_id UUID NOT NULL,
    attempt INTEGER NOT NULL,
    done DOUBLE PRECISION,
    total DOUBLE PRECISION,
    note TEXT,
    lines JSONB NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (task_id, attempt)
)
"""


def upgrade() -> None:
    """Add the table; workers fill it with their heartbeats."""
    connection = op.get_bind()
    # Not by text(): the name of a schema may hold a colon.
    connection.exec_driver_sql(OUTPUTS.format(schema=connection.scalar(SCHEMA)).replace("%", "%%"))
