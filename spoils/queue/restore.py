"""Undoing a delete: the task goes back from the trash as it was, unless its place is taken."""

from uuid import UUID

from sqlalchemy import Connection, select, text

from spoils.models import Trash
from spoils.queue.control import Change

# Whole rows, and so no list of columns: a table may have some that no model knows. A row that waits comes back due
# now at the earliest, since claims look on from where they were.
BACK = """
    INSERT INTO fang_tasks
    SELECT row.*
    FROM chosen, jsonb_populate_record(
        NULL::fang_tasks,
        chosen.task || CASE
            WHEN chosen.task ->> 'state' IN ('new', 'retried')
            THEN jsonb_build_object(
                'scheduled_at', greatest((chosen.task ->> 'scheduled_at')::timestamptz, now())
            )
            ELSE '{}'::jsonb
        END
    ) AS row
    WHERE chosen.task ->> 'state' NOT IN ('new', 'retried')
       OR NOT EXISTS (
            SELECT FROM fang_tasks AS other
            WHERE other.uniq_hash = chosen.task ->> 'uniq_hash'
              AND other.state IN ('new', 'retried', 'in_progress')
       )
    ON CONFLICT DO NOTHING
    RETURNING id
"""
"""Puts back what `chosen` holds (task_id, task), and passes over what a twin or a row of the same id stands against."""

_RESTORE = text(
    f"""
    WITH chosen AS MATERIALIZED (
        SELECT id, task_id, task
        FROM spoils_trash
        WHERE task_id = :which
        ORDER BY id DESC
        LIMIT 1
        FOR UPDATE
    ),
    back AS ({BACK}),
    emptied AS (
        DELETE FROM spoils_trash
        USING back
        WHERE spoils_trash.task_id = back.id
    )
    SELECT
        (SELECT count(*) FROM chosen) AS chosen,
        (SELECT count(*) FROM back) AS back,
        (SELECT task ->> 'uniq_hash' FROM chosen) AS uniq_hash
    """  # noqa: S608 - constants of this file
)
_TWIN = text(
    """
    SELECT id, state::text
    FROM fang_tasks
    WHERE uniq_hash = :hash
      AND state IN ('new', 'retried', 'in_progress')
    LIMIT 1
    """
)
CHUNK = text(
    f"""
    WITH item AS (
        SELECT task_id
        FROM spoils_bulk_items
        WHERE bulk_id = :bulk
          AND place > :after_place
          AND place <= :to_place
    ),
    chosen AS MATERIALIZED (
        SELECT trash.id, trash.task_id, trash.task
        FROM spoils_trash AS trash
        JOIN item USING (task_id)
        WHERE trash.bulk_id = :source
        FOR UPDATE OF trash
    ),
    back AS ({BACK}, state, scheduled_at, retries, cancel_requested_at),
    emptied AS (
        DELETE FROM spoils_trash
        USING chosen, back
        WHERE spoils_trash.id = chosen.id
          AND chosen.task_id = back.id
    ),
    audited AS (
        INSERT INTO spoils_audit (who, verb, task_id, bulk_id, done, note, twin, after)
        SELECT
            :by_whom, 'restore', item.task_id, :bulk, back.id IS NOT NULL,
            CASE
                WHEN back.id IS NOT NULL THEN NULL
                WHEN chosen.id IS NULL THEN 'the job is not in the trash any more.'
                WHEN twin.state = 'in_progress' THEN 'the same unique job is in progress.'
                WHEN twin.id IS NOT NULL THEN 'the same unique job already waits.'
                ELSE 'a job of this id is there.'
            END,
            twin.id,
            CASE WHEN back.id IS NOT NULL THEN jsonb_build_object(
                'state', back.state, 'scheduled_at', back.scheduled_at, 'retries', back.retries,
                'asked_to_stop', back.cancel_requested_at IS NOT NULL
            ) END
        FROM item
        LEFT JOIN chosen USING (task_id)
        LEFT JOIN back ON back.id = item.task_id
        LEFT JOIN LATERAL (
            SELECT other.id, other.state
            FROM fang_tasks AS other
            WHERE back.id IS NULL
              AND other.uniq_hash = chosen.task ->> 'uniq_hash'
              AND other.state IN ('new', 'retried', 'in_progress')
            LIMIT 1
        ) AS twin ON true
        RETURNING done
    )
    SELECT count(*) FILTER (WHERE done) AS done, count(*) FILTER (WHERE NOT done) AS refused FROM audited
    """  # noqa: S608 - constants of this file
)
"""As the statements of `spoils.queue.bulk_verbs`, for what the bulk `source` has deleted."""


def restore(connection: Connection, task_id: UUID) -> Change:
    """Put a deleted task back."""
    row = connection.execute(_RESTORE, {"which": task_id}).one()
    if row.back:
        return Change(True, "Restored 1 job.")
    if not row.chosen:
        return Change(False, "Refused: the job is not in the trash, where a deleted one stays for a day.")
    if row.uniq_hash and (twin := connection.execute(_TWIN, {"hash": row.uniq_hash}).one_or_none()):
        words = "is in progress" if twin.state == "in_progress" else "already waits"
        return Change(False, f"Refused: the same unique job {words}.", twin.id)
    return Change(False, "Refused: a job of this id is there.", task_id)


def in_trash(connection: Connection, task_id: UUID) -> bool:
    """Whether the delete of a task can be undone."""
    return connection.scalar(select(Trash.id).where(Trash.task_id == task_id).limit(1)) is not None
