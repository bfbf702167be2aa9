"""The trigger of the counts after an UPDATE sets no search path: a claim on a server that rested waited 45 µs for it.

Its table is named in full instead, so that it is found from a session with any other path.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

# Where they are, and not where new ones would go: a schema may have come before theirs in the path.
SCHEMAS = """
SELECT pronamespace::regnamespace::text, relnamespace::regnamespace::text
FROM pg_class, pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE pg_class.oid = 'spoils_counts'::regclass
  AND tgrelid = 'fang_tasks'::regclass
  AND tgname = 'spoils_tasks_updated'
"""
UPDATED = """
CREATE OR REPLACE FUNCTION {ours}.spoils_tasks_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {counts}.spoils_counts (task_type, state, delta)
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
    connection = op.get_bind()
    ours, counts = connection.exec_driver_sql(SCHEMAS).one()
    connection.exec_driver_sql(UPDATED.format(ours=ours, counts=counts).replace("%", "%%"))
