"""The queue's tables: made in an empty database, or added to a `fang_tasks` that exists, with every row kept.

The first revision. Databases of the commits before it stand at 0001 … 0010; see `spoils.migrations.older_commits`.
"""

import logging

from alembic import context, op
from sqlalchemy import Connection, text

from spoils.errors import ForeignTable

revision = "0011"
down_revision = None

log = logging.getLogger("spoils.migrations")

FANG_COLUMNS = {
    "id": "uuid",
    "metadata": "jsonb",
    "error_message": "text",
    "state": "fang_task_state",
    "task_type": "text",
    "uniq_hash": "text",
    "retries": "int4",
    "scheduled_at": "timestamptz",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}
SAME_AS_TEXT = {"varchar", "bpchar", "text"}
STATES = ("new", "in_progress", "failed", "finished", "retried")
OUR_COLUMNS = ("claimed_by", "claimed_at", "attempts", "crashes", "priority", "cancel_requested_at")

# Version 7 of RFC 9562: 48 bits of milliseconds since 1970, then the noise of a version-4 id, with its version changed.
# Ids that are ordered by time keep new rows together in the primary key. The function sets no search path, because the
# planner could not inline it then.
NEW_ID = """
CREATE FUNCTION spoils_new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(
            set_bit(
                overlay(
                    uuid_send(gen_random_uuid())
                    PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6
                ),
                52, 1
            ),
            53, 1
        ),
        'hex'
    )::uuid
$$;
GRANT EXECUTE ON FUNCTION spoils_new_id() TO PUBLIC;
"""
CREATE_TYPE = "CREATE TYPE fang_task_state AS ENUM ('new', 'in_progress', 'failed', 'finished', 'retried')"
CREATE = """
CREATE TABLE fang_tasks (
    id UUID PRIMARY KEY DEFAULT spoils_new_id(),
    metadata JSONB NOT NULL,
    error_message TEXT,
    state fang_task_state DEFAULT 'new' NOT NULL,
    task_type VARCHAR DEFAULT 'common' NOT NULL,
    uniq_hash CHAR(64),
    retries INTEGER DEFAULT 0 NOT NULL,
    scheduled_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);
"""

EXTEND = """
ALTER TABLE fang_tasks
    ADD COLUMN claimed_by UUID,
    ADD COLUMN claimed_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN attempts INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN crashes SMALLINT DEFAULT 0 NOT NULL,
    ADD COLUMN priority SMALLINT DEFAULT 0 NOT NULL,
    ADD COLUMN cancel_requested_at TIMESTAMP WITH TIME ZONE,
    ADD CONSTRAINT fang_tasks_priority_check CHECK (priority BETWEEN -2 AND 2);
"""

# Of several active rows with one hash the one in progress keeps it, else the oldest; the others still run.
FREE_DUPLICATE_HASHES = """
WITH ranked AS (
    SELECT id, row_number() OVER (
        PARTITION BY uniq_hash
        ORDER BY state = 'in_progress' DESC, created_at, id
    ) AS place
    FROM fang_tasks
    WHERE uniq_hash IS NOT NULL
      AND state IN ('new', 'retried', 'in_progress')
)
UPDATE fang_tasks
SET uniq_hash = NULL
FROM ranked
WHERE fang_tasks.id = ranked.id
  AND ranked.place > 1;
"""

# The crate's own: ours serve the same queries, and each costs every change of state a write.
DROP_CRATE_INDEXES = """
DROP INDEX IF EXISTS fang_tasks_state_index;
DROP INDEX IF EXISTS fang_tasks_type_index;
DROP INDEX IF EXISTS fang_tasks_scheduled_at_index;
DROP INDEX IF EXISTS fang_tasks_uniq_hash;
"""

INDEX = """
CREATE INDEX fang_tasks_claim_idx ON fang_tasks (task_type, priority DESC, scheduled_at, id)
    WHERE state IN ('new', 'retried');
CREATE UNIQUE INDEX fang_tasks_active_hash_idx ON fang_tasks (uniq_hash)
    WHERE state IN ('new', 'retried', 'in_progress') AND uniq_hash IS NOT NULL;
CREATE INDEX fang_tasks_running_idx ON fang_tasks (claimed_by) WHERE state = 'in_progress';
CREATE INDEX fang_tasks_waiting_idx ON fang_tasks (state, updated_at, id) WHERE state IN ('new', 'retried');
CREATE INDEX fang_tasks_failed_idx ON fang_tasks (updated_at, id) INCLUDE (attempts, task_type)
    WHERE state = 'failed';
CREATE INDEX fang_tasks_finished_idx ON fang_tasks (updated_at, id) WHERE state = 'finished';
CREATE INDEX fang_tasks_suspect_idx ON fang_tasks (scheduled_at)
    WHERE crashes >= 2 AND state IN ('new', 'retried');
"""

SIDE_TABLES = """
CREATE TABLE spoils_workers (
    id UUID PRIMARY KEY,
    host VARCHAR NOT NULL,
    pid INTEGER NOT NULL,
    release VARCHAR NOT NULL,
    task_types VARCHAR[] NOT NULL,
    threads INTEGER NOT NULL,
    lock_key BIGINT,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    beat_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    rss BIGINT,
    running INTEGER DEFAULT 0 NOT NULL,
    draining BOOLEAN DEFAULT false NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    ended_how VARCHAR
);
CREATE INDEX spoils_workers_live_idx ON spoils_workers (id) WHERE ended_at IS NULL;
CREATE INDEX spoils_workers_ended_idx ON spoils_workers (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE spoils_attempts (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    task_id UUID NOT NULL,
    attempt INTEGER NOT NULL,
    task_type VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    worker_id UUID,
    release VARCHAR,
    claimed_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ran_ms BIGINT,
    delay_ms BIGINT,
    error_class VARCHAR,
    message TEXT,
    traceback TEXT,
    fingerprint VARCHAR
);
CREATE INDEX spoils_attempts_task_idx ON spoils_attempts (task_id, attempt);
CREATE INDEX spoils_attempts_fingerprint_idx ON spoils_attempts (fingerprint, ended_at);
CREATE INDEX spoils_attempts_ended_idx ON spoils_attempts (ended_at);

CREATE TABLE spoils_minutes (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    minute TIMESTAMP WITH TIME ZONE NOT NULL,
    task_type VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    bucket SMALLINT NOT NULL,
    count BIGINT NOT NULL,
    ran_ms BIGINT NOT NULL
);
CREATE INDEX spoils_minutes_minute_idx ON spoils_minutes (minute);

CREATE TABLE spoils_schedules (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    job VARCHAR NOT NULL,
    cron VARCHAR NOT NULL,
    zone VARCHAR NOT NULL,
    task_type VARCHAR NOT NULL,
    settled_until TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT spoils_schedules_job_cron_zone_key UNIQUE (job, cron, zone)
);

CREATE TABLE spoils_ticks (
    schedule_id BIGINT NOT NULL REFERENCES spoils_schedules (id) ON DELETE CASCADE,
    slot TIMESTAMP WITH TIME ZONE NOT NULL,
    outcome VARCHAR NOT NULL,
    task_id UUID,
    told_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    reason VARCHAR,
    PRIMARY KEY (schedule_id, slot)
);
CREATE INDEX spoils_ticks_slot_idx ON spoils_ticks (slot);
"""

ATTEMPTS_BY_GROUP = """
CREATE INDEX spoils_attempts_last_idx ON spoils_attempts (fingerprint, task_id, attempt)
    WHERE outcome IN ('failed', 'crashed', 'cancelled');
"""

PAUSES = """
CREATE TABLE spoils_pauses (
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    paused_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    paused_by VARCHAR NOT NULL,
    PRIMARY KEY (kind, name)
);
"""

QUARTERS = """
CREATE TABLE spoils_quarters (
    quarter TIMESTAMP WITH TIME ZONE NOT NULL,
    task_type VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    count BIGINT NOT NULL,
    ran_ms BIGINT NOT NULL,
    buckets SMALLINT[] NOT NULL,
    counts BIGINT[] NOT NULL,
    PRIMARY KEY (quarter, task_type, outcome)
);
"""

OPERATORS = """
CREATE TABLE spoils_audit (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    who VARCHAR NOT NULL,
    verb VARCHAR NOT NULL,
    task_id UUID,
    about VARCHAR,
    bulk_id UUID,
    done BOOLEAN NOT NULL,
    note TEXT,
    twin UUID,
    before JSONB,
    after JSONB
);
CREATE INDEX spoils_audit_task_idx ON spoils_audit (task_id, id);
CREATE INDEX spoils_audit_at_idx ON spoils_audit (at);
CREATE INDEX spoils_audit_verbs_idx ON spoils_audit (id) WHERE task_id IS NULL OR bulk_id IS NULL;
CREATE INDEX spoils_audit_refused_idx ON spoils_audit (bulk_id, id) WHERE NOT done;

CREATE TABLE spoils_trash (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    task_id UUID NOT NULL,
    task JSONB NOT NULL,
    bulk_id UUID,
    deleted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);
CREATE INDEX spoils_trash_task_idx ON spoils_trash (task_id, id);
CREATE INDEX spoils_trash_bulk_idx ON spoils_trash (bulk_id) WHERE bulk_id IS NOT NULL;
CREATE INDEX spoils_trash_deleted_idx ON spoils_trash (deleted_at);

CREATE TABLE spoils_bulks (
    id UUID PRIMARY KEY,
    verb VARCHAR NOT NULL,
    who VARCHAR NOT NULL,
    selection JSONB NOT NULL,
    expected BIGINT NOT NULL,
    total BIGINT,
    place BIGINT DEFAULT 0 NOT NULL,
    done BIGINT DEFAULT 0 NOT NULL,
    refused BIGINT DEFAULT 0 NOT NULL,
    task_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE
);
CREATE INDEX spoils_bulks_created_idx ON spoils_bulks (created_at);

CREATE TABLE spoils_bulk_items (
    bulk_id UUID NOT NULL,
    place BIGINT NOT NULL,
    task_id UUID NOT NULL,
    newest BOOLEAN DEFAULT true NOT NULL,
    PRIMARY KEY (bulk_id, place)
);

CREATE TABLE spoils_alerts (
    key VARCHAR PRIMARY KEY,
    sentence TEXT NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    tries INTEGER DEFAULT 0 NOT NULL,
    next_try_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE
);
"""

IDEMPOTENCY_KEYS = """
CREATE TABLE spoils_idempotency_keys (
    key CHAR(64) PRIMARY KEY,
    request CHAR(64) NOT NULL,
    status SMALLINT,
    answer TEXT,
    location VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);
CREATE INDEX spoils_idempotency_keys_created_idx ON spoils_idempotency_keys (created_at);
"""

LOGOUTS = """
CREATE TABLE spoils_logouts (
    login UUID PRIMARY KEY,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
);
"""

# Every task leaves two dead rows, and every statement on tasks some deltas: the defaults wait for a fifth of the table.
VACUUM = """
ALTER TABLE fang_tasks SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE spoils_counts SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
ALTER TABLE spoils_minutes SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE spoils_workers SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
"""

# Statement-level triggers keep the counts exact whoever changes the table, psql and fang included.
COUNTS = """
CREATE TABLE spoils_counts (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    task_type VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    delta BIGINT NOT NULL
);

INSERT INTO spoils_counts (task_type, state, delta)
SELECT task_type, state, count(*) FROM fang_tasks GROUP BY task_type, state;

-- The moment of the last notification, in milliseconds since 1970. A sequence, since no transaction waits for another
-- one at it, and all see it at once.
CREATE SEQUENCE spoils_notified;
"""

# The functions of the triggers run with the rights of their owner, so a role needs rights on `fang_tasks` alone. They
# must not look anything up by their caller's search path: the caller's own operators would run with the owner's rights.
#
# PostgreSQL refuses a commit with notifications while their queue is full. They only wake workers, which poll as well.
INSERTED = """
CREATE OR REPLACE FUNCTION {schema}.spoils_tasks_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    due_in double precision;
    rows_added bigint;
    named text := '';
    moment bigint;
    notified bigint;
BEGIN
    INSERT INTO {schema}.spoils_counts (task_type, state, delta)
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
        SELECT last_value INTO notified FROM {schema}.spoils_notified;
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

# A claim waits for this function, and setting a search path would take longer than the rest of it, so that every name
# is qualified instead.
UPDATED = """
CREATE OR REPLACE FUNCTION {schema}.spoils_tasks_updated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO {schema}.spoils_counts (task_type, state, delta)
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

# A host that takes the right to insert away, for a database beyond its plan, takes it from the owner too. Deletes must
# still work then. The counts are wrong until the next recount.
DELETED = """
CREATE OR REPLACE FUNCTION {schema}.spoils_tasks_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO {schema}.spoils_counts (task_type, state, delta)
    SELECT task_type, state, -count(*) FROM gone GROUP BY task_type, state;
    RETURN NULL;
EXCEPTION
    WHEN insufficient_privilege THEN
        RETURN NULL;
END $$;
"""

TRUNCATED = """
CREATE OR REPLACE FUNCTION {schema}.spoils_tasks_truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- COUNTS_LOCK of spoils.queue.rollup: the sum that a fold is just writing would not be seen, and would stay.
    PERFORM pg_advisory_xact_lock(x'5B012'::int);
    DELETE FROM {schema}.spoils_counts;
    RETURN NULL;
END $$;
"""

# A role that could put such a function on a table of its own would write to the counts.
REVOKED = """
REVOKE EXECUTE ON FUNCTION
    {schema}.spoils_tasks_inserted(),
    {schema}.spoils_tasks_updated(),
    {schema}.spoils_tasks_deleted(),
    {schema}.spoils_tasks_truncated()
FROM PUBLIC
"""

TRIGGERS = """
CREATE TRIGGER spoils_tasks_inserted AFTER INSERT ON fang_tasks
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION spoils_tasks_inserted();
CREATE TRIGGER spoils_tasks_updated AFTER UPDATE ON fang_tasks
    REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION spoils_tasks_updated();
CREATE TRIGGER spoils_tasks_deleted AFTER DELETE ON fang_tasks
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION spoils_tasks_deleted();
CREATE TRIGGER spoils_tasks_truncated AFTER TRUNCATE ON fang_tasks
    FOR EACH STATEMENT EXECUTE FUNCTION spoils_tasks_truncated();
"""

# The default fills the row that Alembic inserts when this revision is done.
REMEMBER_ADOPTION = "ALTER TABLE spoils_version ADD COLUMN adopted BOOLEAN DEFAULT {adopted}"


def upgrade() -> None:
    """Make or adopt `fang_tasks`, then add what is ours."""
    adopted = _adopts()
    op.execute(NEW_ID)
    if adopted:
        log.info("Adopting the table fang_tasks: its rows, types and defaults stay as they are.")
    else:
        if not _states():
            op.execute(CREATE_TYPE)
        op.execute(CREATE)
    op.execute(EXTEND)
    freed = op.get_bind().execute(text(FREE_DUPLICATE_HASHES)).rowcount
    if freed:
        log.warning(
            "%d waiting tasks were duplicates of another: they still run, but no longer count as unique.",
            freed,
        )
    if not context.config.attributes["shared_with_fang"]:
        op.execute(DROP_CRATE_INDEXES)
    for statements in (
        INDEX,
        SIDE_TABLES,
        ATTEMPTS_BY_GROUP,
        PAUSES,
        QUARTERS,
        OPERATORS,
        IDEMPOTENCY_KEYS,
        LOGOUTS,
    ):
        op.execute(statements)
    op.execute(COUNTS)
    create_functions(op.get_bind())
    op.execute(TRIGGERS)
    op.execute(VACUUM)
    op.execute(REMEMBER_ADOPTION.format(adopted=adopted))


def create_functions(connection: Connection) -> None:
    """Create the functions of the triggers, or replace them, beside `fang_tasks`."""
    names = connection.execute(
        text(
            "SELECT relnamespace::regnamespace::text AS schema, "
            "quote_literal(relnamespace::regnamespace::text || '.spoils_notified') AS notified "
            "FROM pg_class WHERE oid = 'fang_tasks'::regclass"
        )
    ).one()
    for statement in (INSERTED, UPDATED, DELETED, TRUNCATED, REVOKED):
        # Not by text(): the name of a schema may hold a colon.
        connection.exec_driver_sql(statement.format(**names._mapping).replace("%", "%%"))


def _adopts() -> bool:
    """Whether fang's table is there. Raises ForeignTable where one of its name is another's."""
    if (states := _states()) and states != set(STATES):
        odd = min(states ^ set(STATES))
        raise _foreign(f"There is a type fang_task_state, but it {_knows(odd in states)} state {odd}")
    kind = op.get_bind().scalar(text("SELECT relkind FROM pg_class WHERE oid = to_regclass('fang_tasks')"))
    if kind is None:
        return False
    if kind != "r":
        raise _foreign("There is a fang_tasks, but it is no plain table")
    rows = op.get_bind().execute(
        text(
            "SELECT column_name, udt_name, is_nullable = 'NO' AND column_default IS NULL AS demanded "
            "FROM information_schema.columns "
            "WHERE table_name = 'fang_tasks' AND table_schema = current_schema()"
        )
    )
    found = {name: ("text" if udt in SAME_AS_TEXT else udt, demanded) for name, udt, demanded in rows}
    for name, needed in FANG_COLUMNS.items():
        standing, _ = found.get(name, ("missing", False))
        if standing != needed:
            raise _foreign(
                f"There is a table fang_tasks, but its column {name} is {standing} where {needed} is needed"
            )
    for name in found.keys() & set(OUR_COLUMNS):
        raise _foreign(f"There is a table fang_tasks, but it has a column {name}, which fang's has not")
    for name, (_, demanded) in found.items():
        if demanded and name not in FANG_COLUMNS:
            raise _foreign(f"There is a table fang_tasks, but no row goes in without its column {name}")
    return True


def _states() -> set[str]:
    """The labels of the type fang_task_state; none where there is no such type."""
    return set(
        op.get_bind().scalars(
            text("SELECT enumlabel FROM pg_enum WHERE enumtypid = to_regtype('fang_task_state')")
        )
    )


def _knows(known: bool) -> str:
    return "knows a" if known else "knows no"


def _foreign(what: str) -> ForeignTable:
    return ForeignTable(
        f"{what}: Spoils adopts fang's own table only. Rename it, or set DATABASE_URL to another database."
    )
