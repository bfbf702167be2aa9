"""The trigger of the counts after an UPDATE sets no search path: a claim on a server that rested waited 45 µs for it.

Its table is named in full instead, so that it is found from a session with any other path.
"""

from alembic import op
from sqlalchemy import text

revision = "0009"
down_revision = "0008"

SCHEMA = "SELECT CAST(CAST(relnamespace AS regnamespace) AS text) FROM pg_class WHERE oid = 'spoils_counts'::regclass"
UPDATED = """
CREATE OR REPLACE FUNCTION spoils_tasks_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.spoils_counts (task_type, state, delta)
    SELECT task_type, state, sum(delta)
    FROM (
        SELECT task_type, state, 1 AS delta FROM after_rows
        UNION ALL
        SELECT task_type, state, -1 FROM before_rows
    ) AS changes
    GROUP BY task_type, state
    HAVING sum(delta) <> 0;
    RETURN NULL;
END $$;
"""


def upgrade() -> None:
    """Put the trigger's new function in the place of the old one."""
    schema = op.get_bind().execute(text(SCHEMA)).scalar_one()
    op.execute(UPDATED.format(schema=schema))
