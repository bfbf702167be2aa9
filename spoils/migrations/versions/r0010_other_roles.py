"""The triggers serve every role and every state of the database: few rights, another search path, a full queue.

They run with the rights of their owner, so a role needs rights on `fang_tasks` alone. Such a function must not look
anything up by its caller's search path: the caller's own operators would run with the owner's rights.
"""

from alembic import context, op
from sqlalchemy import text

revision = "0010"
down_revision = "0009"

# Where the objects are, and not where new ones would go: a schema may have come before theirs in the path.
NAMES = text(
    """
    SELECT
        tables.relnamespace::regnamespace::text AS tasks,
        functions.pronamespace::regnamespace::text AS functions,
        counts.relnamespace::regnamespace::text AS counts,
        quote_literal(notified.relnamespace::regnamespace::text || '.spoils_notified') AS notified
    FROM pg_class AS tables
    JOIN pg_trigger AS triggers ON triggers.tgrelid = tables.oid AND triggers.tgname = 'spoils_tasks_updated'
    JOIN pg_proc AS functions ON functions.oid = triggers.tgfoid,
        pg_class AS counts,
        pg_class AS notified
    WHERE tables.oid = 'fang_tasks'::regclass
      AND counts.oid = 'spoils_counts'::regclass
      AND notified.oid = 'spoils_notified'::regclass
    """
)

# PostgreSQL refuses a commit with notifications while their queue is full. They only wake workers, which poll as well.
INSERTED = """
CREATE OR REPLACE FUNCTION {functions}.spoils_tasks_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    due_in double precision;
    rows_added bigint;
    named text := '';
    moment bigint;
    notified bigint;
BEGIN
    INSERT INTO {counts}.spoils_counts (task_type, state, delta)
    SELECT task_type, state, count(*) FROM added GROUP BY task_type, state;

    -- Wakes idle workers. The text is in how many seconds the earliest of the new rows falls due, less than none where
    -- it was due before now; and its id where it is the only one, and due just now. Who notifies holds a lock from then
    -- to the end of the commit, so not everybody may: one that is woken looks again in the next milliseconds, and what
    -- is due later is seen by the heartbeats.
    SELECT extract(epoch FROM min(scheduled_at) - clock_timestamp()), count(*) INTO due_in, rows_added
    FROM added
    WHERE state IN ('new', 'retried') AND isfinite(scheduled_at);
    IF due_in < 3 THEN
        moment := extract(epoch FROM clock_timestamp()) * 1000;
        SELECT last_value INTO notified FROM {counts}.spoils_notified;
        IF (due_in > 0 OR due_in < -1 OR moment NOT BETWEEN notified AND notified + 10)
            AND pg_notification_queue_usage() < 0.5
        THEN
            PERFORM setval({notified}, moment);
            IF rows_added = 1 AND due_in BETWEEN -1 AND 0 THEN
                SELECT ' ' || id INTO named FROM added WHERE state IN ('new', 'retried');
            END IF;
            PERFORM pg_notify('spoils_tasks', round(due_in::numeric, 3) || named);
        END IF;
    END IF;
    RETURN NULL;
END $$;
"""

# A claim waits for this one, and to set a search path would take longer than the rest of it: all is named in full.
UPDATED = """
CREATE OR REPLACE FUNCTION {functions}.spoils_tasks_updated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO {counts}.spoils_counts (task_type, state, delta)
    SELECT task_type, state, pg_catalog.sum(delta)
    FROM (
        SELECT task_type, state, 1 AS delta FROM after_rows
        UNION ALL
        SELECT task_type, state, -1 FROM before_rows
    ) AS changes
    GROUP BY task_type, state
    HAVING pg_catalog.sum(delta) OPERATOR(pg_catalog.<>) 0;
    RETURN NULL;
END $$;
"""

# A host that takes the right to insert away, for a database beyond its plan, takes it from the owner too: then rows
# must still go. The counts are wrong until the next recount.
DELETED = """
CREATE OR REPLACE FUNCTION {functions}.spoils_tasks_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {counts}.spoils_counts (task_type, state, delta)
    SELECT task_type, state, -count(*) FROM gone GROUP BY task_type, state;
    RETURN NULL;
EXCEPTION
    WHEN insufficient_privilege THEN
        RETURN NULL;
END $$;
"""

TRUNCATED = """
CREATE OR REPLACE FUNCTION {functions}.spoils_tasks_truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- COUNTS_LOCK of spoils.queue.rollup: the sum that a fold is just writing would not be seen, and would stay.
    PERFORM pg_advisory_xact_lock(x'5B012'::int);
    DELETE FROM {counts}.spoils_counts;
    RETURN NULL;
END $$;
"""

# Who may put such a function on a table of his own would write to the counts.
OWN = "REVOKE EXECUTE ON FUNCTION {functions}.{name}() FROM PUBLIC"

# NULL where the table was made or adopted before this was recorded.
REMEMBER = """
ALTER TABLE spoils_version ADD COLUMN adopted BOOLEAN;
UPDATE spoils_version SET adopted = :adopted
"""
ID_DEFAULT = text(
    """
    SELECT pg_get_expr(adbin, adrelid)
    FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE adrelid = 'fang_tasks'::regclass AND attname = 'id'
    """
)


def upgrade() -> None:
    """Put the triggers' new functions in the place of the old ones, and record whether the table was adopted."""
    connection = op.get_bind()
    names = connection.execute(NAMES).one()._asdict()
    for function in (INSERTED, UPDATED, DELETED, TRUNCATED):
        connection.exec_driver_sql(function.format(**names).replace("%", "%%"))
    for name in ("inserted", "updated", "deleted", "truncated"):
        revoked = OWN.format(functions=names["functions"], name=f"spoils_tasks_{name}")
        connection.exec_driver_sql(revoked.replace("%", "%%"))
    adopted = context.config.attributes.get("adopted")
    connection.execute(text(REMEMBER), {"adopted": adopted})
    # Revision 0007 changed that of a guide's table whose three times have the default now(), as ours have.
    if adopted and (connection.scalar(ID_DEFAULT) or "").endswith("spoils_new_id()"):
        op.execute("ALTER TABLE fang_tasks ALTER COLUMN id SET DEFAULT gen_random_uuid()")
