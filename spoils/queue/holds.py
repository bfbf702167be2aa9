"""Holding a task type, or a key of a limit: a job has asked that no other of it is started before a moment."""

import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, text

from spoils.models import Hold, HoldKind

# The key of the first limit of its class; of a class without limits the type.
_HOLD = text(
    """
    WITH given AS (
        SELECT id, seconds FROM jsonb_to_recordset(CAST(:given AS jsonb)) AS given (id uuid, seconds float8)
    ), named AS (
        SELECT task_type, (spoils_limit_keys(metadata))[1] AS key, max(seconds) AS seconds
        FROM fang_tasks JOIN given USING (id)
        GROUP BY 1, 2
    ), held AS (
        INSERT INTO spoils_holds (kind, name, until)
        SELECT
            CASE WHEN key IS NULL THEN 'task_type' ELSE 'key' END,
            coalesce(key, task_type),
            clock_timestamp() + make_interval(secs => max(seconds))
        FROM named
        GROUP BY 1, 2
        ORDER BY 1, 2
        ON CONFLICT (kind, name) DO UPDATE SET until = greatest(spoils_holds.until, excluded.until)
        RETURNING kind, name, until
    )
    SELECT pg_notify('spoils_holds', extract(epoch FROM until - clock_timestamp()) || ' ' || name)
    FROM held
    WHERE kind = 'task_type' AND pg_notification_queue_usage() < 0.5
    """
)


def hold(connection: Connection, seconds: Mapping[str, float]) -> None:
    """Hold for so many seconds what the tasks of these ids ask for. A longer hold that there is stays."""
    given = [{"id": task_id, "seconds": asked} for task_id, asked in seconds.items()]
    connection.execute(_HOLD, {"given": json.dumps(given)})


def held_until(connection: Connection, kind: HoldKind, name: str) -> datetime | None:
    """Until when it is held; None where it is not."""
    statement = select(Hold.until).where(
        Hold.kind == kind.value, Hold.name == name, Hold.until > func.clock_timestamp()
    )
    return connection.scalar(statement)


def drop_past_holds(connection: Connection) -> None:
    """Delete the holds that are over."""
    connection.execute(delete(Hold).where(Hold.until <= func.now()))
