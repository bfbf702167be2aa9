"""The end of sharing the table with Rust workers."""

from sqlalchemy import Connection, text

_FREE_HASHES = text(
    """
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
      AND ranked.place > 1
    """
)
_WIDEN = text(
    """
    DROP INDEX fang_tasks_active_hash_idx;
    CREATE UNIQUE INDEX fang_tasks_active_hash_idx ON fang_tasks (uniq_hash)
        WHERE state IN ('new', 'retried', 'in_progress');
    DROP INDEX IF EXISTS fang_tasks_state_index;
    DROP INDEX IF EXISTS fang_tasks_type_index;
    DROP INDEX IF EXISTS fang_tasks_scheduled_at_index;
    DROP INDEX IF EXISTS fang_tasks_uniq_hash;
    """
)


def end(connection: Connection) -> None:
    """Make the unique index cover what runs too, which fang's workers could not bear. Changes nothing a second time.

    Of several duplicates one keeps the hash, a running one if there is any; the others still run.
    """
    connection.execute(text("LOCK TABLE fang_tasks IN SHARE ROW EXCLUSIVE MODE"))
    covers = connection.scalar(
        text("SELECT pg_get_indexdef('fang_tasks_active_hash_idx'::regclass) LIKE '%in_progress%'")
    )
    if not covers:
        connection.execute(_FREE_HASHES)
        connection.execute(_WIDEN)
