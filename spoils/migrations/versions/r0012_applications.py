"""What other applications need: results of jobs, and enqueueing from SQL.

`spoils_enqueue` is for any language, `spoils_put` for programs that compute hashes themselves.
"""

from alembic import op
from sqlalchemy import text

revision = "0012"
down_revision = "0011"

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

# What serde_json prints of the same map: keys sorted by their bytes, no spaces, UTF-8. Rust and Python print floats
# differently, so a float has no canonical form.
CANONICAL = """
CREATE FUNCTION {ours}.spoils_canonical(value jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    CASE jsonb_typeof(value)
        WHEN 'object' THEN
            RETURN '{{' || coalesce((
                SELECT string_agg(
                    to_json(key)::text || ':' || {ours}.spoils_canonical(item), ',' ORDER BY key COLLATE "C"
                )
                FROM jsonb_each(value) AS each (key, item)
            ), '') || '}}';
        WHEN 'array' THEN
            RETURN '[' || coalesce((
                SELECT string_agg({ours}.spoils_canonical(item), ',' ORDER BY place)
                FROM jsonb_array_elements(value) WITH ORDINALITY AS each (item, place)
            ), '') || ']';
        WHEN 'number' THEN
            IF value::text ~ '[.]' THEN
                RAISE EXCEPTION 'The payload of a unique job may not hold a float: use an integer or a string.'
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            RETURN value::text;
        ELSE
            RETURN value::text;
    END CASE;
END $$;
"""

# Each element of `tasks` has the fields that `spoils.queue.enqueue.row` makes.
PUT = """
CREATE FUNCTION {ours}.spoils_put(tasks jsonb)
RETURNS TABLE (place bigint, id uuid, state text, duplicate boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    given record;
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
            greatest(statement_timestamp(), (task ->> 'at')::timestamptz) AS due
        FROM jsonb_array_elements(tasks) WITH ORDINALITY AS each (task, number)
        WHERE task ->> 'uniq_hash' IS NOT NULL
        ORDER BY 5, 1
    LOOP
        -- A duplicate may end between the two statements, so both are tried again.
        FOR attempt IN 1..5 LOOP
            INSERT INTO {tasks}.fang_tasks
                (id, metadata, task_type, uniq_hash, priority, scheduled_at, created_at, updated_at)
            VALUES (
                given.id, given.metadata, given.task_type, given.uniq_hash, given.priority, given.due,
                statement_timestamp(), statement_timestamp()
            )
            ON CONFLICT (uniq_hash) WHERE state IN ('new', 'retried') AND uniq_hash IS NOT NULL DO NOTHING;
            IF FOUND THEN
                RETURN QUERY SELECT given.number, given.id, 'new', false;
                EXIT;
            END IF;
            RETURN QUERY
            SELECT given.number, found.id, found.state::text, true
            FROM {tasks}.fang_tasks AS found
            WHERE found.uniq_hash = given.uniq_hash AND found.state IN ('new', 'retried', 'in_progress')
            ORDER BY (found.state = 'in_progress')
            LIMIT 1;
            EXIT WHEN FOUND;
            IF attempt = 5 THEN
                RAISE EXCEPTION 'An equal unique task kept appearing and ending while this one was enqueued. Try again.'
                    USING ERRCODE = 'serialization_failure';
            END IF;
        END LOOP;
    END LOOP;
END $$;
"""

ENQUEUE = """
CREATE FUNCTION {ours}.spoils_enqueue(
    job text,
    payload jsonb DEFAULT '{{}}',
    at timestamptz DEFAULT NULL,
    priority integer DEFAULT 0,
    uniq boolean DEFAULT false,
    task_type text DEFAULT NULL,
    OUT id uuid,
    OUT duplicate boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    metadata jsonb;
BEGIN
    IF jsonb_typeof(payload) <> 'object' OR payload ? 'type' THEN
        RAISE EXCEPTION 'The payload is a JSON object of the fields of %, without a field "type".', job
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF priority NOT BETWEEN -2 AND 2 THEN
        RAISE EXCEPTION 'priority is a whole number from -2 to 2.' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    metadata := payload || jsonb_build_object('type', job);
    -- The default of a class in Python: its name without "Job", in snake case.
    task_type := coalesce(task_type, lower(regexp_replace(
        regexp_replace(job, '(.)Job$', '\\1'), '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', '_', 'g'
    )));
    SELECT put.id, put.duplicate INTO id, duplicate
    FROM {ours}.spoils_put(jsonb_build_array(jsonb_build_object(
        'id', {ours}.spoils_new_id(),
        'metadata', metadata,
        'task_type', task_type,
        'uniq_hash', CASE WHEN uniq
            THEN encode(sha256(convert_to({ours}.spoils_canonical(metadata), 'UTF8')), 'hex') END,
        'priority', priority,
        'at', at
    ))) AS put;
END $$;
"""


def upgrade() -> None:
    """Add the column of results, and the functions beside `spoils_new_id`."""
    connection = op.get_bind()
    connection.exec_driver_sql("ALTER TABLE fang_tasks ADD COLUMN result jsonb")
    names = connection.execute(NAMES).one()._mapping
    for function in (CANONICAL, PUT, ENQUEUE):
        connection.exec_driver_sql(function.format(**names).replace("%", "%%"))
