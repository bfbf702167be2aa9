"""A quarter of an hour's run times in one row: a week is drawn from a tenth of the rows."""

from alembic import op

revision = "0005"
down_revision = "0004"

TABLE = """
CREATE TABLE spoils_quarters_in_one (
    quarter TIMESTAMP WITH TIME ZONE NOT NULL,
    task_type VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    count BIGINT NOT NULL,
    ran_ms BIGINT NOT NULL,
    buckets SMALLINT[] NOT NULL,
    counts BIGINT[] NOT NULL,
    PRIMARY KEY (quarter, task_type, outcome)
);
INSERT INTO spoils_quarters_in_one
SELECT quarter, task_type, outcome, sum(count), sum(ran_ms),
       array_agg(bucket ORDER BY bucket), array_agg(count ORDER BY bucket)
FROM spoils_quarters GROUP BY quarter, task_type, outcome;
DROP TABLE spoils_quarters;
ALTER TABLE spoils_quarters_in_one RENAME TO spoils_quarters;
ALTER INDEX spoils_quarters_in_one_pkey RENAME TO spoils_quarters_pkey;
"""


def upgrade() -> None:
    """Make the table anew, with what is in the old one."""
    op.execute(TABLE)
