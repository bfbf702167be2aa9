"""Uniqueness while a task waits and within a window, replacing what waits, and the steps of a job."""

from alembic import op
from sqlalchemy import text

revision = "0017"
down_revision = "0016"

# Where the objects are, and not where new ones would go: a schema may have come before theirs in the path.
NAMES = text(
    """
    SELECT
        tasks.relnamespace::regnamespace::text AS tasks,
        ids.pronamespace::regnamespace::text AS ours
    FROM pg_class AS tasks, pg_proc AS ids
    WHERE tasks.oid = 'fang_tasks'::regclass AND ids.oid = 'spoils_new_id()'::regprocedure
    """
)
# Beside Rust workers the index leaves out what runs, and stays as it is.
COVERS_RUNNING = text("SELECT pg_get_indexdef('fang_tasks_active_hash_idx'::regclass) LIKE '%in_progress%'")

COLUMN = "ALTER TABLE {tasks}.fang_tasks ADD COLUMN uniq_waiting BOOLEAN"

# The hash of a task that is unique only while it waits leaves the index when it is claimed.
INDEX = """
DROP INDEX {tasks}.fang_tasks_active_hash_idx;
CREATE UNIQUE INDEX fang_tasks_active_hash_idx ON {tasks}.fang_tasks (uniq_hash)
    WHERE uniq_hash IS NOT NULL
      AND (state IN ('new', 'retried') OR state = 'in_progress' AND uniq_waiting IS NOT TRUE);
"""

TABLES = """
CREATE TABLE {tasks}.spoils_unique_windows (
    uniq_hash CHAR(64) PRIMARY KEY,
    task_id UUID NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL
);
CREATE TABLE {tasks}.spoils_steps (
    task_id UUID NOT NULL,
    name VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    result JSONB NOT NULL,
    ran_ms BIGINT NOT NULL,
    done_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (task_id, name)
);
"""

# Each element of `tasks` has the fields that `spoils.queue.enqueue.row` makes; those of an older release lack the last
# three of them.
PUT = """
CREATE OR REPLACE FUNCTION {ours}.spoils_put(tasks jsonb)
RETURNS TABLE (place bigint, id uuid, state text, duplicate boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    given record;
    waiting record;
    win record;
    due_in double precision;
BEGIN
    RETURN QUERY
    WITH each AS (
        SELECT task, number FROM jsonb_array_elements(tasks) WITH ORDINALITY AS each (task, number)
        WHERE task ->> 'uniq_hash' IS NULL
    ), added AS (
        INSERT INTO {tasks}.fang_tasks (id, metadata, task_type, priority, scheduled_at, created_at, updated_at)
        SELECT
            (task ->> 'id')::uuid,
            task -> 'metadata',
            task ->> 'task_type',
            (task ->> 'priority')::smallint,
            greatest(statement_timestamp(), (task ->> 'at')::timestamptz),
            statement_timestamp(),
            statement_timestamp()
        FROM each
        ORDER BY number
    )
    SELECT number, (task ->> 'id')::uuid, 'new', false FROM each;

    -- By hash, in every session: two callers with the same unique jobs would otherwise wait for each other.
    FOR given IN
        SELECT
            number,
            (task ->> 'id')::uuid AS id,
            task -> 'metadata' AS metadata,
            task ->> 'task_type' AS task_type,
            task ->> 'uniq_hash' AS uniq_hash,
            (task ->> 'priority')::smallint AS priority,
            greatest(statement_timestamp(), (task ->> 'at')::timestamptz) AS due,
            (task ->> 'uniq_waiting')::boolean AS uniq_waiting,
            (task ->> 'within')::double precision AS within,
            coalesce(task ->> 'on_duplicate', 'skip') AS on_duplicate
        FROM jsonb_array_elements(tasks) WITH ORDINALITY AS each (task, number)
        WHERE task ->> 'uniq_hash' IS NOT NULL
        ORDER BY 5, 1
    LOOP
        -- A duplicate may end, be claimed or go in between two of the statements, so all are tried again.
        FOR attempt IN 1..100 LOOP
            IF given.within IS NOT NULL THEN
                -- The window's row is the lock of the key, until the end of the transaction.
                INSERT INTO {tasks}.spoils_unique_windows (uniq_hash, task_id, until)
                VALUES (given.uniq_hash, given.id, '-infinity')
                ON CONFLICT (uniq_hash) DO NOTHING;
                SELECT * INTO win FROM {tasks}.spoils_unique_windows
                WHERE uniq_hash = given.uniq_hash FOR UPDATE;
                CONTINUE WHEN NOT FOUND;
            END IF;
            IF given.on_duplicate <> 'skip' THEN
                UPDATE {tasks}.fang_tasks SET
                    metadata = given.metadata,
                    priority = given.priority,
                    scheduled_at = CASE given.on_duplicate
                        WHEN 'reschedule' THEN given.due ELSE scheduled_at END,
                    state = 'new',
                    retries = 0,
                    crashes = 0,
                    error_message = NULL,
                    updated_at = statement_timestamp()
                WHERE uniq_hash = given.uniq_hash AND state IN ('new', 'retried')
                RETURNING id, attempts, scheduled_at INTO waiting;
                IF FOUND THEN
                    IF waiting.attempts > 0 THEN
                        -- What the job did for its old payload is not what it would do for the new one.
                        DELETE FROM {tasks}.spoils_steps WHERE task_id = waiting.id;
                    END IF;
                    -- A claim may have passed the row while it was locked, so workers look back by two seconds at the
                    -- least. What is due later is seen by the heartbeats.
                    due_in := extract(
                        epoch FROM greatest(waiting.scheduled_at, '2000-01-01 00:00:00+00') - clock_timestamp()
                    );
                    IF due_in < 3 AND pg_notification_queue_usage() < 0.5 THEN
                        due_in := CASE WHEN due_in > 0 THEN due_in ELSE least(due_in, -2) END;
                        PERFORM pg_notify('spoils_tasks', round(due_in::numeric, 3)::text);
                    END IF;
                    RETURN QUERY SELECT given.number, waiting.id, 'new', true;
                    EXIT;
                END IF;
            END IF;
            IF given.within IS NOT NULL THEN
                IF win.until > statement_timestamp() THEN
                    -- A deleted task has ended its window.
                    RETURN QUERY
                    SELECT given.number, found.id, found.state::text, true
                    FROM {tasks}.fang_tasks AS found WHERE found.id = win.task_id;
                    EXIT WHEN FOUND;
                END IF;
            END IF;
            INSERT INTO {tasks}.fang_tasks (
                id, metadata, task_type, uniq_hash, priority, scheduled_at, created_at, updated_at, uniq_waiting
            ) VALUES (
                given.id, given.metadata, given.task_type, given.uniq_hash, given.priority, given.due,
                statement_timestamp(), statement_timestamp(), given.uniq_waiting
            )
            ON CONFLICT (uniq_hash) WHERE state IN ('new', 'retried') AND uniq_hash IS NOT NULL DO NOTHING;
            IF FOUND THEN
                IF given.within IS NOT NULL THEN
                    UPDATE {tasks}.spoils_unique_windows SET
                        task_id = given.id,
                        until = statement_timestamp() + make_interval(secs => given.within)
                    WHERE uniq_hash = given.uniq_hash;
                END IF;
                RETURN QUERY SELECT given.number, given.id, 'new', false;
                EXIT;
            END IF;
            IF given.on_duplicate = 'skip' THEN
                RETURN QUERY
                SELECT given.number, found.id, found.state::text, true
                FROM {tasks}.fang_tasks AS found
                WHERE found.uniq_hash = given.uniq_hash
                  AND (found.state IN ('new', 'retried')
                       OR found.state = 'in_progress' AND found.uniq_waiting IS NOT TRUE)
                ORDER BY (found.state = 'in_progress')
                LIMIT 1;
                EXIT WHEN FOUND;
            END IF;
            IF attempt = 100 THEN
                RAISE EXCEPTION 'An equal unique task kept appearing and ending while this one was enqueued. Try again.'
                    USING ERRCODE = 'serialization_failure';
            END IF;
        END LOOP;
    END LOOP;
END $$;
"""


def upgrade() -> None:
    """Add the column and the tables, let the index leave out what is unique only while it waits, and replace the
    function."""
    connection = op.get_bind()
    names = connection.execute(NAMES).one()._mapping
    covers_running = connection.scalar(COVERS_RUNNING)
    for statement in (COLUMN, *([INDEX] if covers_running else []), TABLES, PUT):
        # Not by text(): the name of a schema may hold a colon.
        connection.exec_driver_sql(statement.format(**names).replace("%", "%%"))
