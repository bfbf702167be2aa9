"""A notification of one task that is due names it, so that an idle worker need not look for it."""

from alembic import op

revision = "0006"
down_revision = "0005"

INSERTED = """
CREATE OR REPLACE FUNCTION spoils_tasks_inserted() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    due_in double precision;
    rows_added bigint;
    named text := '';
    moment bigint;
    notified bigint;
BEGIN
    INSERT INTO spoils_counts (task_type, state, delta)
    SELECT task_type, state, count(*) FROM added GROUP BY task_type, state;

    -- Wakes idle workers. The text is in how many seconds the earliest of the new rows falls due, less than none where
    -- it was due before now; and its id where it is the only one, and due just now. Who notifies holds a lock from then
    -- to the end of the commit, so not everybody may: one that is woken looks again in the next milliseconds, and what
    -- is due later is seen by the beats.
    SELECT extract(epoch FROM min(scheduled_at) - clock_timestamp()), count(*) INTO due_in, rows_added
    FROM added
    WHERE state IN ('new', 'retried') AND isfinite(scheduled_at);
    IF due_in < 3 THEN
        moment := extract(epoch FROM clock_timestamp()) * 1000;
        SELECT last_value INTO notified FROM spoils_notified;
        IF due_in > 0 OR due_in < -1 OR moment NOT BETWEEN notified AND notified + 10 THEN
            PERFORM setval('spoils_notified', moment);
            IF rows_added = 1 AND due_in BETWEEN -1 AND 0 THEN
                SELECT ' ' || id INTO named FROM added WHERE state IN ('new', 'retried');
            END IF;
            PERFORM pg_notify('spoils_tasks', round(due_in::numeric, 3) || named);
        END IF;
    END IF;
    RETURN NULL;
END $$;
"""


def upgrade() -> None:
    """Put the trigger's new function in the place of the old one. Workers before this release look at everything."""
    op.execute(INSERTED)
