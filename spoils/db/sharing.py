"""The end of sharing the table with Rust workers."""

from sqlalchemy import Connection, text

_FREE_HASHES = text(
    """
    UPDATE fang_tasks AS waiting
    SET uniq_hash = NULL
    FROM fang_tasks AS running
    WHERE running.uniq_hash = waiting.uniq_hash
      AND running.state = 'in_progress'
      AND waiting.state IN ('new', 'retried')
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

    A waiting twin of a running task loses its hash and still runs.
    """
    connection.execute(text("LOCK TABLE fang_tasks IN SHARE ROW EXCLUSIVE MODE"))
    covers = connection.scalar(
        text("SELECT pg_get_indexdef('fang_tasks_active_hash_idx'::regclass) LIKE '%in_progress%'")
    )
    if not covers:
        connection.execute(_FREE_HASHES)
        connection.execute(_WIDEN)
