"""The job classes that a worker knows: those that its release has, each with the digest of its fields."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column. It stays NULL in the rows of older releases, whose workers may know any class."""
    op.execute("ALTER TABLE spoils_workers ADD COLUMN job_classes JSONB")
