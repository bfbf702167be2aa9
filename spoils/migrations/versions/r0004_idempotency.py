"""The answers to requests that carried a key of their own."""

from alembic import op

revision = "0004"
down_revision = "0003"

TABLE = """
CREATE TABLE spoils_idempotency_keys (
    key CHAR(64) PRIMARY KEY,
    request CHAR(64) NOT NULL,
    status SMALLINT,
    answer TEXT,
    location VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);
CREATE INDEX spoils_idempotency_keys_created_idx ON spoils_idempotency_keys (created_at);
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(TABLE)
