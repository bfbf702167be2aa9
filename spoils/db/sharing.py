"""Sharing the table with fang's Rust workers: what the table needs for it, and the end of that."""

from sqlalchemy import Connection, text

# fang selects a task and updates it by its id in two transactions, knows no fence, and its worker ends for good on an
# error of the database. So the table itself refuses a claim of a task that no longer waits (fang finds no row, and
# looks for another), and frees the hash of one that goes back where a duplicate waits, whichever program gives it back.
_GUARD = """
CREATE OR REPLACE FUNCTION spoils_tasks_guarded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'in_progress' THEN
        IF OLD.state NOT IN ('new', 'retried') THEN
            RETURN NULL;
        END IF;
        -- The worker that settled it before is not its owner now.
        NEW.claimed_by := NULL;
        NEW.claimed_at := NULL;
    ELSIF EXISTS (
        SELECT FROM {schema}.fang_tasks
        WHERE uniq_hash = NEW.uniq_hash
          AND state IN ('new', 'retried')
          AND id <> NEW.id
    ) THEN
        NEW.uniq_hash := NULL;
    END IF;
    RETURN NEW;
END $$;
"""
# Our own claims count an attempt. An operator's request to stop leaves the state as it is.
_GUARDED = """
CREATE TRIGGER spoils_tasks_guarded BEFORE UPDATE OF state ON fang_tasks
    FOR EACH ROW
    WHEN (
        NEW.state = 'in_progress'
            AND NEW.attempts = OLD.attempts
            AND NEW.cancel_requested_at IS NOT DISTINCT FROM OLD.cancel_requested_at
        OR OLD.state = 'in_progress'
            AND NEW.state IN ('new', 'retried')
            AND NEW.uniq_hash IS NOT NULL
    )
    EXECUTE FUNCTION spoils_tasks_guarded();
"""
_UNGUARDED = """
DROP TRIGGER IF EXISTS spoils_tasks_guarded ON fang_tasks;
DROP FUNCTION IF EXISTS spoils_tasks_guarded();
"""
_IS_GUARDED = text(
    "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'fang_tasks'::regclass AND tgname = 'spoils_tasks_guarded')"
)
_SCHEMA = text("SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'fang_tasks'::regclass")
_COVERS_RUNNING = text("SELECT pg_get_indexdef('fang_tasks_active_hash_idx'::regclass) LIKE '%in_progress%'")
_WAITING = "state IN ('new', 'retried')"
_RUNNING = "state = 'in_progress' AND uniq_waiting IS NOT TRUE"
_INDEX = """
DROP INDEX fang_tasks_active_hash_idx;
CREATE UNIQUE INDEX fang_tasks_active_hash_idx ON fang_tasks (uniq_hash)
    WHERE uniq_hash IS NOT NULL AND {states};
"""
_DROP_CRATE_INDEXES = """
DROP INDEX IF EXISTS fang_tasks_state_index;
DROP INDEX IF EXISTS fang_tasks_type_index;
DROP INDEX IF EXISTS fang_tasks_scheduled_at_index;
DROP INDEX IF EXISTS fang_tasks_uniq_hash;
"""
_FREE_DUPLICATE_HASHES = text(
    """
    WITH ranked AS (
        SELECT id, row_number() OVER (
            PARTITION BY uniq_hash
            ORDER BY state = 'in_progress' DESC, created_at, id
        ) AS place
        FROM fang_tasks
        WHERE uniq_hash IS NOT NULL
          AND (state IN ('new', 'retried') OR state = 'in_progress' AND uniq_waiting IS NOT TRUE)
    )
    UPDATE fang_tasks
    SET uniq_hash = NULL
    FROM ranked
    WHERE fang_tasks.id = ranked.id
      AND ranked.place > 1
    """
)
# At once what dropping an index or a trigger needs: two that hold a weaker lock and wait for this one would deadlock.
_LOCK = text("LOCK TABLE fang_tasks IN ACCESS EXCLUSIVE MODE")


def begin(connection: Connection) -> None:
    """Guard the table against what fang does to it, and let a duplicate of a running task wait, since fang enters one.

    Changes nothing a second time.
    """
    guard = _GUARD.format(schema=connection.scalar(_SCHEMA))
    connection.exec_driver_sql(guard.replace("%", "%%"))
    if connection.scalar(_IS_GUARDED):
        return
    connection.execute(_LOCK)
    if connection.scalar(_COVERS_RUNNING):
        connection.exec_driver_sql(_INDEX.format(states=_WAITING))
    connection.exec_driver_sql(_GUARDED)


def end(connection: Connection) -> None:
    """Remove the guard, and make the unique index cover what runs too. Changes nothing a second time.

    Of active duplicates one keeps the hash, the running one where there is one; the others still run.
    """
    connection.execute(_LOCK)
    connection.exec_driver_sql(_UNGUARDED)
    if not connection.scalar(_COVERS_RUNNING):
        connection.execute(_FREE_DUPLICATE_HASHES)
        connection.exec_driver_sql(_INDEX.format(states=f"({_WAITING} OR {_RUNNING})"))
        connection.exec_driver_sql(_DROP_CRATE_INDEXES)
