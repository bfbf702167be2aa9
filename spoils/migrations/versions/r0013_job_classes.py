"""The job classes that each worker knows, with a digest of their fields; and a notification without the task's id."""

from alembic import op
from sqlalchemy import text

revision = "0013"
down_revision = "0012"

# Workers of older releases read what comes before a space, so they understand the payload without an id too.
INSERTED = """
CREATE OR REPLACE FUNCTION {schema}.spoils_tasks_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    due_in double precision;
    moment bigint;
    notified bigint;
BEGIN
    INSERT INTO {schema}.spoils_counts (task_type, state, delta)
    SELECT task_type, state, count(*) FROM added GROUP BY task_type, state;

    -- Wakes idle workers. The text is in how many seconds the earliest of the new rows falls due, less than none where
    -- it was due before now. Who notifies holds a lock from then to the end of the commit, so not everybody may: one
    -- that is woken claims again in the next milliseconds, and what is due later is seen by the heartbeats.
    SELECT extract(epoch FROM min(scheduled_at) - clock_timestamp()) INTO due_in
    FROM added
    WHERE state IN ('new', 'retried') AND isfinite(scheduled_at);
    IF due_in < 3 THEN
        moment := extract(epoch FROM clock_timestamp()) * 1000;
        SELECT last_value INTO notified FROM {schema}.spoils_notified;
        IF (due_in > 0 OR due_in < -1 OR moment NOT BETWEEN notified AND notified + 10)
            AND pg_notification_queue_usage() < 0.5
        THEN
            PERFORM setval({notified}, moment);
            PERFORM pg_notify('spoils_tasks', round(due_in::numeric, 3)::text);
        END IF;
    END IF;
    RETURN NULL;
END $$;
"""
NAMES = text(
    """
    SELECT
        relnamespace::regnamespace::text AS schema,
        quote_literal(relnamespace::regnamespace::text || '.spoils_notified') AS notified
    FROM pg_class WHERE oid = 'fang_tasks'::regclass
    """
)


def upgrade() -> None:
    """Add the column, which stays NULL for workers of older releases, and replace the trigger's function."""
    op.execute("ALTER TABLE spoils_workers ADD COLUMN job_classes JSONB")
    connection = op.get_bind()
    names = connection.execute(NAMES).one()._mapping
    # Not by text(): the name of a schema may hold a colon.
    connection.exec_driver_sql(INSERTED.format(**names).replace("%", "%%"))
