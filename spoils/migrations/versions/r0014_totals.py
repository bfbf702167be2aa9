"""The attempts of all time, for counters that do not decrease when minutes are pruned."""

from alembic import op
from sqlalchemy import text

revision = "0014"
down_revision = "0013"

# Where the minutes are, and not where new objects would go: a schema may have come before theirs in the path.
SCHEMA = text("SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'spoils_minutes'::regclass")

TOTALS = """
CREATE TABLE {schema}.spoils_totals (
    task_type VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    bucket SMALLINT NOT NULL,
    count BIGINT NOT NULL,
    ran_ms BIGINT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (task_type, outcome, bucket)
);
"""

# Here and not by a worker, where settlements would wait for the sum of a month of minutes.
FILL = """
INSERT INTO {schema}.spoils_totals (task_type, outcome, bucket, count, ran_ms, until)
SELECT task_type, outcome, bucket, sum(count), sum(ran_ms), passed.until
FROM
    {schema}.spoils_minutes,
    date_trunc('minute', now() - interval '2 minutes') AS passed (until)
WHERE minute < passed.until
GROUP BY task_type, outcome, bucket, passed.until;
"""


def upgrade() -> None:
    """Add the table, with what the minutes hold."""
    connection = op.get_bind()
    schema = connection.scalar(SCHEMA)
    for statement in (TOTALS, FILL):
        # Not by text(): the name of a schema may hold a colon.
        connection.exec_driver_sql(statement.format(schema=schema).replace("%", "%%"))
