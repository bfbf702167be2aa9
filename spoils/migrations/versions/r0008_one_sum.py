"""The trigger of the counts after an UPDATE adds up once: a claim of one task waits for it."""

from alembic import op

revision = "0008"
down_revision = "0007"

UPDATED = """
CREATE OR REPLACE FUNCTION spoils_tasks_updated() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO spoils_counts (task_type, state, delta)
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
    op.execute(UPDATED)
