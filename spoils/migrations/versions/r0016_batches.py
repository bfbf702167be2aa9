"""Batches and chains: members are counted, and what follows is enqueued, by triggers, whoever changes the tasks."""

from alembic import op
from sqlalchemy import text

revision = "0016"
down_revision = "0015"

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

TABLES = """
ALTER TABLE {tasks}.fang_tasks ADD COLUMN batch_id UUID, ADD COLUMN previous JSONB;
CREATE INDEX fang_tasks_batch_idx ON {tasks}.fang_tasks (batch_id, state, updated_at, id)
    WHERE batch_id IS NOT NULL;
CREATE TABLE {ours}.spoils_batches (
    id UUID PRIMARY KEY,
    name VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    condition VARCHAR NOT NULL,
    then_task JSONB,
    links JSONB,
    enqueued_id UUID,
    total BIGINT DEFAULT 0 NOT NULL,
    active BIGINT DEFAULT 0 NOT NULL,
    finished BIGINT DEFAULT 0 NOT NULL,
    failed BIGINT DEFAULT 0 NOT NULL,
    cancelled BIGINT DEFAULT 0 NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
CREATE INDEX spoils_batches_created_idx ON {ours}.spoils_batches (created_at, id);
CREATE INDEX spoils_batches_open_idx ON {ours}.spoils_batches (id) WHERE ended_at IS NULL;
"""

# A duplicate of a unique job has another id, and so does not become a member.
ADD_MEMBERS = """
CREATE FUNCTION {ours}.spoils_add_members(batch uuid, tasks jsonb)
RETURNS TABLE (place bigint, id uuid, state text, duplicate boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT put.place, put.id, put.state, put.duplicate FROM {ours}.spoils_put(tasks) AS put;
    UPDATE {tasks}.fang_tasks
    SET batch_id = batch
    FROM jsonb_array_elements(tasks) AS each (task)
    WHERE fang_tasks.id = (task ->> 'id')::uuid;
END $$;
"""

# The enqueue itself counts as one active member, so that the batch does not end before all are in, and a batch without
# members ends here.
PUT_BATCH = """
CREATE FUNCTION {ours}.spoils_put_batch(batch jsonb, tasks jsonb)
RETURNS TABLE (place bigint, id uuid, state text, duplicate boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO {ours}.spoils_batches (id, name, created_at, condition, then_task, links, enqueued_id, active)
    VALUES (
        (batch ->> 'id')::uuid,
        batch ->> 'name',
        statement_timestamp(),
        batch ->> 'condition',
        nullif(batch -> 'then', 'null'),
        nullif(batch -> 'links', 'null'),
        CASE WHEN jsonb_typeof(batch -> 'links') = 'array' THEN (tasks #>> '{{0,id}}')::uuid END,
        1
    );
    RETURN QUERY
    SELECT added.place, added.id, added.state, added.duplicate
    FROM {ours}.spoils_add_members((batch ->> 'id')::uuid, tasks) AS added;
    UPDATE {ours}.spoils_batches SET active = active - 1 WHERE id = (batch ->> 'id')::uuid;
END $$;
"""

# A failed row does not say whether it was cancelled. The attempt of a job that returned Cancel, or was interrupted for
# an operator, does.
WAS_CANCELLED = """
CREATE FUNCTION {ours}.spoils_was_cancelled(task uuid, at_attempt integer, error text)
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(error = 'Cancelled by an operator.', false) OR EXISTS (
        SELECT FROM {ours}.spoils_attempts
        WHERE task_id = task AND attempt = at_attempt AND outcome = 'cancelled' AND message = error
    )
$$;
"""

COUNT = """
CREATE FUNCTION {ours}.spoils_count_members(
    batch uuid, of_total bigint, of_finished bigint, of_failed bigint, of_cancelled bigint
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF of_total <> 0 OR of_finished <> 0 OR of_failed <> 0 OR of_cancelled <> 0 THEN
        UPDATE {ours}.spoils_batches
        SET
            total = total + of_total,
            active = active + of_total - of_finished - of_failed - of_cancelled,
            finished = finished + of_finished,
            failed = failed + of_failed,
            cancelled = cancelled + of_cancelled
        WHERE id = batch;
    END IF;
END $$;
"""

# Claims and enqueues wait for these functions, and setting a search path would take longer than what most of them do,
# so that every name is qualified instead. Batches are locked after the tasks, and in the order of their ids: two
# statements with members of the same batches would otherwise wait for each other.
UPDATED = """
CREATE FUNCTION {ours}.spoils_tasks_updated_in_batches() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    change record;
BEGIN
    IF NOT EXISTS (
        SELECT FROM after_rows WHERE batch_id IS NOT NULL
        UNION ALL
        SELECT FROM before_rows WHERE batch_id IS NOT NULL
    ) THEN
        RETURN NULL;
    END IF;
    FOR change IN
        SELECT
            batch_id,
            pg_catalog.sum(sign) AS total,
            coalesce(pg_catalog.sum(sign) FILTER (WHERE state OPERATOR(pg_catalog.=) 'finished'), 0) AS finished,
            coalesce(
                pg_catalog.sum(sign) FILTER (WHERE state OPERATOR(pg_catalog.=) 'failed' AND NOT cancelled), 0
            ) AS failed,
            coalesce(pg_catalog.sum(sign) FILTER (WHERE cancelled), 0) AS cancelled
        FROM (
            SELECT batch_id, state, 1 AS sign, {cancelled} AS cancelled FROM after_rows
            WHERE batch_id IS NOT NULL
            UNION ALL
            SELECT batch_id, state, -1, {cancelled} FROM before_rows
            WHERE batch_id IS NOT NULL
        ) AS members
        GROUP BY batch_id
        ORDER BY batch_id
    LOOP
        PERFORM {ours}.spoils_count_members(
            change.batch_id, change.total, change.finished, change.failed, change.cancelled
        );
    END LOOP;
    RETURN NULL;
END $$;
"""
CANCELLED = """
CASE WHEN state OPERATOR(pg_catalog.=) 'failed'
    THEN {ours}.spoils_was_cancelled(id, attempts, error_message) ELSE false END
""".strip()

# A deleted member that waited leaves its batch, and comes back when the delete is undone. One that has ended stays
# counted: the retention must not change what a batch has done.
ENTERED_OR_LEFT = """
CREATE FUNCTION {ours}.{function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    change record;
BEGIN
    IF NOT EXISTS (SELECT FROM {rows} WHERE batch_id IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    BEGIN
        FOR change IN
            SELECT batch_id, pg_catalog.sum({sign}) AS total
            FROM {rows}
            WHERE batch_id IS NOT NULL
              AND state OPERATOR(pg_catalog.<>) 'finished'
              AND state OPERATOR(pg_catalog.<>) 'failed'
            GROUP BY batch_id
            ORDER BY batch_id
        LOOP
            PERFORM {ours}.spoils_count_members(change.batch_id, change.total, 0, 0, 0);
        END LOOP;
    EXCEPTION
        -- As in spoils_tasks_deleted: deletes must work where the owner has lost the right to write.
        WHEN insufficient_privilege THEN
            IF {sign} OPERATOR(pg_catalog.>) 0 THEN
                RAISE;
            END IF;
    END;
    RETURN NULL;
END $$;
"""

# With all tasks the members of every open batch are gone, which is no end that anything should follow.
TRUNCATED = """
CREATE FUNCTION {ours}.spoils_tasks_truncated_in_batches() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM {ours}.spoils_batches WHERE ended_at IS NULL;
    RETURN NULL;
END $$;
"""

# At the end of the transaction, when a job's completion has been written and the members that it adds are in. The row
# is locked since the last member was counted, so what follows is enqueued once.
ENDS = """
CREATE FUNCTION {ours}.spoils_batch_ends() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    batch {ours}.spoils_batches;
    link jsonb;
BEGIN
    SELECT * INTO batch FROM {ours}.spoils_batches WHERE id = NEW.id FOR UPDATE;
    IF NOT FOUND
        OR batch.active <> 0
        OR batch.ended_at IS NOT NULL
        OR batch.condition = 'success' AND batch.failed + batch.cancelled > 0
    THEN
        RETURN NULL;
    END IF;
    IF batch.links IS NOT NULL THEN
        -- A link that was deleted before it ran stops its chain.
        IF NOT EXISTS (SELECT FROM {tasks}.fang_tasks WHERE id = batch.enqueued_id AND state = 'finished') THEN
            RETURN NULL;
        END IF;
        link := batch.links -> 0;
        IF link IS NOT NULL THEN
            UPDATE {ours}.spoils_batches
            SET links = links - 0, enqueued_id = (link ->> 'id')::uuid
            WHERE id = batch.id;
            PERFORM FROM {ours}.spoils_put(jsonb_build_array(link));
            UPDATE {tasks}.fang_tasks
            SET
                batch_id = batch.id,
                previous = jsonb_build_object(
                    'result', (SELECT done.result FROM {tasks}.fang_tasks AS done WHERE done.id = batch.enqueued_id)
                )
            WHERE id = (link ->> 'id')::uuid;
            RETURN NULL;
        END IF;
    END IF;
    UPDATE {ours}.spoils_batches
    SET ended_at = clock_timestamp(), enqueued_id = coalesce((batch.then_task ->> 'id')::uuid, enqueued_id)
    WHERE id = batch.id;
    IF batch.then_task IS NOT NULL THEN
        PERFORM FROM {ours}.spoils_put(jsonb_build_array(batch.then_task));
        UPDATE {tasks}.fang_tasks
        SET previous = jsonb_build_object(
            'batch', jsonb_build_object(
                'id', batch.id, 'name', batch.name, 'total', batch.total, 'finished', batch.finished,
                'failed', batch.failed, 'cancelled', batch.cancelled
            )
        )
        WHERE id = (batch.then_task ->> 'id')::uuid;
    END IF;
    RETURN NULL;
END $$;
"""

# A role that could call these, or put a trigger on a table of its own, would write to the batches.
REVOKED = """
REVOKE EXECUTE ON FUNCTION
    {ours}.spoils_was_cancelled(uuid, integer, text),
    {ours}.spoils_count_members(uuid, bigint, bigint, bigint, bigint),
    {ours}.spoils_tasks_inserted_in_batches(),
    {ours}.spoils_tasks_updated_in_batches(),
    {ours}.spoils_tasks_deleted_in_batches(),
    {ours}.spoils_tasks_truncated_in_batches(),
    {ours}.spoils_batch_ends()
FROM PUBLIC
"""

TRIGGERS = """
CREATE TRIGGER spoils_tasks_inserted_in_batches AFTER INSERT ON {tasks}.fang_tasks
    REFERENCING NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION {ours}.spoils_tasks_inserted_in_batches();
CREATE TRIGGER spoils_tasks_updated_in_batches AFTER UPDATE ON {tasks}.fang_tasks
    REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION {ours}.spoils_tasks_updated_in_batches();
CREATE TRIGGER spoils_tasks_deleted_in_batches AFTER DELETE ON {tasks}.fang_tasks
    REFERENCING OLD TABLE AS before_rows
    FOR EACH STATEMENT EXECUTE FUNCTION {ours}.spoils_tasks_deleted_in_batches();
CREATE TRIGGER spoils_tasks_truncated_in_batches AFTER TRUNCATE ON {tasks}.fang_tasks
    FOR EACH STATEMENT EXECUTE FUNCTION {ours}.spoils_tasks_truncated_in_batches();
CREATE CONSTRAINT TRIGGER spoils_batch_ends AFTER UPDATE ON {ours}.spoils_batches
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.active = 0 AND NEW.ended_at IS NULL)
    EXECUTE FUNCTION {ours}.spoils_batch_ends();
"""


def upgrade() -> None:
    """Add the columns, the table, and the functions and triggers beside those that are there."""
    connection = op.get_bind()
    names = dict(connection.execute(NAMES).one()._mapping)
    names["cancelled"] = CANCELLED.format(**names)
    inserted = {"function": "spoils_tasks_inserted_in_batches", "rows": "after_rows", "sign": "1"}
    deleted = {"function": "spoils_tasks_deleted_in_batches", "rows": "before_rows", "sign": "-1"}
    for statement, more in (
        (TABLES, {}),
        (ADD_MEMBERS, {}),
        (PUT_BATCH, {}),
        (WAS_CANCELLED, {}),
        (COUNT, {}),
        (UPDATED, {}),
        (ENTERED_OR_LEFT, inserted),
        (ENTERED_OR_LEFT, deleted),
        (TRUNCATED, {}),
        (ENDS, {}),
        (REVOKED, {}),
        (TRIGGERS, {}),
    ):
        # Not by text(): the name of a schema may hold a colon.
        connection.exec_driver_sql(statement.format(**names, **more).replace("%", "%%"))
