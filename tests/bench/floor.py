"""What bare psycopg2 reaches on the same server: the floor that everything is compared with."""

import threading
import time

import psycopg2

from tests.bench.server import administer

CREATE = """
CREATE TABLE bare_tasks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state text NOT NULL DEFAULT 'new',
    payload jsonb NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX bare_tasks_due_idx ON bare_tasks (due_at, id) WHERE state = 'new';
"""
CLAIM = """
UPDATE bare_tasks SET state = 'running', claimed_at = now()
WHERE id = ANY (ARRAY(
    SELECT id FROM bare_tasks WHERE state = 'new' AND due_at <= now()
    ORDER BY due_at, id LIMIT {batch} FOR UPDATE SKIP LOCKED
))
RETURNING id, payload
"""
FINISH = "UPDATE bare_tasks SET state = 'finished', finished_at = now() WHERE id = ANY (%s)"


def batch_drain(url: str, number: int, *, batch: int = 100, threads: int = 2) -> float:
    """Rows a second, claimed and finished `batch` at a time by `threads` threads, with a commit for each statement."""
    administer(
        url,
        "DROP TABLE IF EXISTS bare_tasks",
        CREATE,
        f"INSERT INTO bare_tasks (payload) SELECT '{{\"number\": 0}}' FROM generate_series(1, {number})",
        "VACUUM ANALYZE bare_tasks",
    )
    connections = [psycopg2.connect(url) for _ in range(threads)]
    barrier = threading.Barrier(threads + 1)
    runners = [
        threading.Thread(target=_drain, args=(connection, batch, barrier), daemon=True)
        for connection in connections
    ]
    for runner in runners:
        runner.start()
    barrier.wait()
    started = time.monotonic()
    for runner in runners:
        runner.join()
    seconds = time.monotonic() - started
    for connection in connections:
        connection.close()
    return number / seconds


def _drain(connection: "psycopg2.extensions.connection", batch: int, barrier: threading.Barrier) -> None:
    cursor = connection.cursor()
    barrier.wait()
    while True:
        cursor.execute(CLAIM.format(batch=batch))
        claimed = cursor.fetchall()
        connection.commit()
        if not claimed:
            return
        cursor.execute(FINISH, ([task_id for task_id, _ in claimed],))
        connection.commit()
