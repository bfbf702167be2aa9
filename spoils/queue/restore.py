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
