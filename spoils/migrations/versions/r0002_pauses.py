"""What is paused, why a tick was skipped, and what pages read quickly: quarters of an hour, products by time."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE spoils_pauses (
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    paused_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    paused_by VARCHAR NOT NULL,
    PRIMARY KEY (kind, name)
);

ALTER TABLE spoils_ticks ADD COLUMN reason VARCHAR;

CREATE TABLE spoils_quarters (
    quarter TIMESTAMP WITH TIME ZONE NOT NULL,
    task_type VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    bucket SMALLINT NOT NULL,
    count BIGINT NOT NULL,
    ran_ms BIGINT NOT NULL,
    PRIMARY KEY (quarter, task_type, outcome, bucket)
);

CREATE INDEX products_updated_idx ON products (updated_at, id);
"""


def upgrade() -> None:
    """Add them."""
    op.execute(STATEMENTS)
