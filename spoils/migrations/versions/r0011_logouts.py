"""The logins that a logout has ended."""

from alembic import op

revision = "0011"
down_revision = "0010"

TABLE = """
CREATE TABLE spoils_logouts (
    login UUID PRIMARY KEY,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(TABLE)
