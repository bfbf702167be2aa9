"""The tables that Spoils takes over: the guide's, and the one that the Rust crate makes; and rows in them."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from spoils.job.wire import canonical, uniq_hash

GUIDE = """
CREATE TYPE fang_task_state AS ENUM (
  'new',         -- Just enqueued
  'in_progress', -- Being processed
  'failed',      -- Failed after max retries
  'finished',    -- Completed successfully
  'retried'      -- Will be retried
);

CREATE TABLE fang_tasks (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    metadata JSONB NOT NULL,           -- Job parameters
    error_message TEXT,                -- Error details if failed
    state fang_task_state DEFAULT 'new' NOT NULL,
    task_type VARCHAR DEFAULT 'common' NOT NULL,
    uniq_hash CHAR(64),               -- For unique jobs
    retries INTEGER DEFAULT 0 NOT NULL,
    scheduled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL
);
"""

# As somebody has it who lets the server fill in the times.
GUIDE_WITH_TIMES = GUIDE.replace("TIME ZONE NOT NULL", "TIME ZONE DEFAULT now() NOT NULL")

# With the uuid_generate_v4() of an extension, or where the server does not ship that, our own.
CRATE = """
CREATE TYPE fang_task_state AS ENUM ('new', 'in_progress', 'failed', 'finished', 'retried');

CREATE TABLE fang_tasks (
    id uuid PRIMARY KEY DEFAULT {uuid}(),
    metadata jsonb NOT NULL,
    error_message TEXT,
    state fang_task_state DEFAULT 'new' NOT NULL,
    task_type TEXT DEFAULT 'common' NOT NULL,
    uniq_hash TEXT,
    retries INTEGER DEFAULT 0 NOT NULL,
    scheduled_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW()
);

CREATE INDEX fang_tasks_state_index ON fang_tasks (state);
CREATE INDEX fang_tasks_type_index ON fang_tasks (task_type);
CREATE INDEX fang_tasks_scheduled_at_index ON fang_tasks (scheduled_at);
CREATE INDEX fang_tasks_uniq_hash ON fang_tasks (uniq_hash);
"""

# That of its releases before 0.11.
OLDER_CRATE = CRATE.replace("task_type TEXT", "task_type VARCHAR").replace(
    "uniq_hash TEXT", "uniq_hash CHAR(64)"
)
OWN_IDS = "CREATE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()'"

OLDER_COMMITS = Path(__file__).with_name("older_commits.sql").read_text()

CRATE_INDEXES = {
    "fang_tasks_state_index",
    "fang_tasks_type_index",
    "fang_tasks_scheduled_at_index",
    "fang_tasks_uniq_hash",
}

# What fang 0.11 sends to insert a task, the second for a unique one.
FANG_INSERT = """
INSERT INTO fang_tasks (metadata, task_type, scheduled_at, created_at, updated_at)
VALUES (:metadata, :task_type, now(), now(), now()) RETURNING *
"""
FANG_INSERT_UNIQUE = """
INSERT INTO fang_tasks (metadata, task_type, uniq_hash, scheduled_at, created_at, updated_at)
VALUES (:metadata, :task_type, :uniq_hash, now(), now(), now()) RETURNING *
"""

# How fang claims: the first in a transaction of its own, the second with the id that it found.
FANG_SELECT = """
SELECT * FROM fang_tasks
WHERE task_type = :task_type AND state IN ('new', 'retried') AND scheduled_at <= now()
ORDER BY created_at ASC, scheduled_at ASC LIMIT 1 FOR UPDATE SKIP LOCKED
"""
FANG_CLAIM = "UPDATE fang_tasks SET state = 'in_progress', updated_at = now() WHERE id = :id RETURNING *"
FANG_FINISH = "UPDATE fang_tasks SET state = 'finished', updated_at = now() WHERE id = :id RETURNING *"
FANG_RETRY = """
UPDATE fang_tasks
SET state = 'retried', error_message = 'it broke', retries = retries + 1, scheduled_at = now(), updated_at = now()
WHERE id = :id RETURNING *
"""

FANG_COLUMNS = (
    "id, metadata, error_message, state, task_type, uniq_hash, retries, scheduled_at, created_at, updated_at"
)
STATES = ("new", "in_progress", "failed", "finished", "retried")
BEGAN = datetime(2025, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)


def make(connection: Connection, which: str) -> None:
    """Make one of the old tables: `guide`, `guide with times`, `crate` or `older crate`."""
    if which in ("guide", "guide with times"):
        connection.exec_driver_sql(GUIDE if which == "guide" else GUIDE_WITH_TIMES)
        return
    shipped = connection.execute(
        text("SELECT count(*) FROM pg_available_extensions WHERE name = 'uuid-ossp'")
    ).scalar_one()
    if shipped:
        connection.exec_driver_sql('CREATE EXTENSION IF NOT EXISTS "uuid-ossp"')
    else:
        connection.exec_driver_sql(OWN_IDS)
    connection.exec_driver_sql(
        (OLDER_CRATE if which == "older crate" else CRATE).format(uuid="uuid_generate_v4")
    )


def fill(connection: Connection, number: int = 500) -> None:
    """Put in so many rows, as many in each state, of the guide's jobs and of some that nobody knows."""
    chance = random.Random(7)
    rows = [_row(index, chance) for index in range(number)]
    connection.execute(
        text(
            f"INSERT INTO fang_tasks ({FANG_COLUMNS}) VALUES (:id, :metadata, :error_message, :state, :task_type, "
            ":uniq_hash, :retries, :scheduled_at, :created_at, :updated_at)"
        ),
        rows,
    )


def _row(index: int, chance: random.Random) -> dict[str, Any]:
    state = STATES[index % 5]
    metadata, task_type, unique = _job(index)
    created = BEGAN + timedelta(seconds=chance.random() * 86_400)
    return {
        "id": UUID(int=chance.getrandbits(128), version=4),
        "metadata": canonical(metadata),
        "error_message": "it broke: « ü » \\ ' %s :name\n\tat line 2"
        if state in ("failed", "retried")
        else None,
        "state": state,
        "task_type": task_type,
        "uniq_hash": uniq_hash(metadata) if unique else None,
        "retries": index % 4 if state in ("failed", "retried") else 0,
        "scheduled_at": created,
        "created_at": created,
        "updated_at": created + timedelta(microseconds=index),
    }


def _job(index: int) -> tuple[dict[str, Any], str, bool]:
    match index // 5 % 3:
        case 0:
            notification = {"user_id": index, "notification_type": "email", "message": "Grüße, 'quoted' \\ ☃"}
            return {"type": "SendNotificationJob", **notification}, "send_notification", False
        case 1:
            # Every row has a hash of its own: duplicates are put in by the tests that are about them.
            return {"type": "FetchProductJob", "barcode": f"{40_000_000 + index:013d}"}, "fetch_product", True
        case _:
            notification = {"user_id": index, "notification_type": "sms", "message": "from the common pool"}
            return {"type": "SendNotificationJob", **notification}, "common", False


def columns(connection: Connection) -> list[tuple[Any, ...]]:
    """The types and defaults of fang's columns, in their order."""
    names = FANG_COLUMNS.split(", ")
    found = connection.execute(
        text(
            "SELECT column_name, data_type, udt_name, character_maximum_length, column_default, is_nullable "
            "FROM information_schema.columns WHERE table_name = 'fang_tasks' ORDER BY ordinal_position"
        )
    )
    return [tuple(row) for row in found if row.column_name in names]


def contents(connection: Connection) -> dict[str, tuple[Any, ...]]:
    """Every row as PostgreSQL prints fang's columns of it, by id."""
    found = connection.execute(
        text("SELECT id::text, ROW(" + FANG_COLUMNS + ")::text, uniq_hash FROM fang_tasks")
    )
    return {task_id: (printed, unique) for task_id, printed, unique in found}


def put(connection: Connection, **values: Any) -> UUID:
    """Insert one row with these values of fang's columns; the times are now where none is given."""
    chosen = {
        "metadata": json.dumps({"type": "FetchProductJob", "barcode": "737628064502"}),
        "task_type": "fetch_product",
        "scheduled_at": BEGAN,
        "created_at": BEGAN,
        "updated_at": BEGAN,
        **values,
    }
    places = ", ".join(f":{name}" for name in chosen)
    statement = text(f"INSERT INTO fang_tasks ({', '.join(chosen)}) VALUES ({places}) RETURNING id")
    made: UUID = connection.execute(statement, chosen).scalar_one()
    return made
