"""A week of a busy service in the tables: what finished, what failed, what waits, and all that is written beside it."""

import psycopg2

from spoils.queue.quarter_rollups import roll_up_quarters
from tests.bench.server import administer, engine_of

CHUNK = 500_000
WORKER = "00000000-0000-0000-0000-000000000001"
GROUPS = 40
"""Groups of failures: one of seven failures is of the first of them, the others share the rest."""
RARE = "send_report"

_KEYS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'fang_tasks'::regclass AND contype = 'p'
"""
_INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE tablename = 'fang_tasks' AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE contype = 'p')
"""
_TYPE = """
(CASE WHEN n % 1000003 = 1 THEN 'send_report' WHEN n % 20 < 8 THEN 'fetch_product'
      WHEN n % 20 < 16 THEN 'analyze_ingredients' WHEN n % 20 < 19 THEN 'send_notification' ELSE 'cleanup' END)
"""
_PAYLOAD = """
jsonb_build_object('type', 'FetchProductJob', 'barcode', lpad((n % 9999991)::text, 13, '0'), 'user_id', n % 5000)
"""
# What fails stands among what finishes, as it does where both were performed.
_ENDED = f"""
INSERT INTO fang_tasks (metadata, task_type, state, attempts, retries, error_message, scheduled_at, created_at,
                        updated_at, claimed_at, claimed_by)
SELECT {_PAYLOAD}, {_TYPE}, (CASE WHEN fails THEN 'failed' ELSE 'finished' END)::fang_task_state,
       CASE WHEN fails THEN 4 ELSE 1 END, CASE WHEN fails THEN 3 ELSE 0 END,
       CASE WHEN fails THEN 'Unavailable: 503 from Open Food Facts, in answer ' || n END,
       at - interval '1 s', at - interval '1 s', at, at - (20 + n % 883) * interval '1 ms', '{WORKER}'
FROM (SELECT n, n % :each = 0 AS fails, now() - interval '7 days' * ((:all - n)::float8 / :all) AS at
      FROM generate_series(:first, :last) AS n) AS rows
"""
_WAITING = f"""
INSERT INTO fang_tasks (metadata, task_type, state, attempts, retries, error_message, scheduled_at, created_at,
                        updated_at)
SELECT {_PAYLOAD}, {_TYPE}, (CASE WHEN n % 5 = 0 THEN 'retried' ELSE 'new' END)::fang_task_state,
       (n % 5 = 0)::int, (n % 5 = 0)::int, CASE WHEN n % 5 = 0 THEN 'TimeoutError: no answer in 15 s' END,
       at + CASE WHEN n % 10 < 3 THEN interval '12 h' ELSE interval '0' END, at, at
FROM (SELECT n, now() - interval '1 h' * ((:all - n)::float8 / :all) AS at
      FROM generate_series(:first, :last) AS n) AS rows
"""
_RUNNING = f"""
INSERT INTO spoils_workers (id, host, pid, release, task_types, threads, running, started_at, beat_at, rss)
VALUES ('{WORKER}', 'worker.1', 4, 'v143', '{{fetch_product,analyze_ingredients,send_notification,cleanup}}', 5, 5,
        now() - interval '1 day', now() + interval '1 day', 93000000);
INSERT INTO fang_tasks (metadata, task_type, state, attempts, claimed_at, claimed_by)
SELECT {_PAYLOAD}, 'fetch_product', 'in_progress', 1, now(), '{WORKER}' FROM generate_series(1, 5) AS n
"""
_ATTEMPTS = f"""
INSERT INTO spoils_attempts (task_id, attempt, task_type, outcome, worker_id, release, claimed_at, ended_at, ran_ms,
                             delay_ms, error_class, message, traceback, fingerprint)
SELECT id, attempts, task_type, CASE state WHEN 'failed' THEN 'failed' ELSE 'retried' END, '{WORKER}', 'v143',
       updated_at - interval '400 ms', updated_at, 400, CASE state WHEN 'retried' THEN 60000 END, 'Unavailable',
       '503 from Open Food Facts, in answer ' || n,
       'Traceback (most recent call last):'
       || repeat(E'\\n  File "/app/spoils/jobs/fetch_product.py", line 41, in run', 20),
       'group-' || CASE WHEN n % 7 = 0 THEN 0 ELSE 1 + n % {GROUPS - 1} END
FROM (SELECT *, row_number() OVER (ORDER BY updated_at) AS n
      FROM fang_tasks WHERE state IN ('failed', 'retried')) AS rows
"""
_MINUTES = """
INSERT INTO spoils_minutes (minute, task_type, outcome, bucket, count, ran_ms)
SELECT date_trunc('minute', updated_at), task_type, state::text,
       least(1 + floor(4 * log(2, ms)), 127), count(*), sum(ms)
FROM (SELECT *, (extract(epoch FROM updated_at - claimed_at) * 1000)::int AS ms FROM fang_tasks
      WHERE state IN ('finished', 'failed') AND updated_at > now() - interval '8 days') AS ended
GROUP BY 1, 2, 3, 4
"""
_BESIDE = """
INSERT INTO products (barcode, name, brands, document)
SELECT '2' || lpad(n::text, 12, '0'), 'Product ' || n, 'Brand ' || n % 300, '{}' FROM generate_series(1, 20000) AS n;
INSERT INTO spoils_schedules (job, cron, zone, task_type) VALUES ('CleanupJob', '* * * * *', 'UTC', 'cleanup');
INSERT INTO spoils_ticks (schedule_id, slot, outcome, task_id)
SELECT id, date_trunc('minute', now()) - n * interval '1 min', 'entered', gen_random_uuid()
FROM spoils_schedules, generate_series(1, 10000) AS n;
INSERT INTO spoils_audit (who, verb, task_id, done, before, after)
SELECT 'admin', 'retry', id, true, '{"state": "failed"}', '{"state": "new"}' FROM fang_tasks
WHERE state = 'failed' ORDER BY updated_at DESC LIMIT 20000
"""


def fill(url: str, *, finished: int, failed: int, waiting: int) -> None:
    """Insert tasks of each kind, with attempts, per-minute stats, audit log and products; counts by the triggers."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(_KEYS)
        keys = cursor.fetchall()
        cursor.execute(_INDEXES)
        indexes = cursor.fetchall()
    connection.close()
    # Row by row, each index would be written to for each of ten million.
    administer(url, *(f"ALTER TABLE {table} DROP CONSTRAINT {name}" for table, name, _ in keys))
    administer(url, *(f"DROP INDEX {name}" for name, _ in indexes))
    ended = finished + failed
    for statement, number in ((_ENDED, ended), (_WAITING, waiting)):
        for first in range(1, number + 1, CHUNK):
            last = min(first + CHUNK - 1, number)
            numbers = {"all": number, "first": first, "last": last, "each": ended // failed}
            administer(url, _chosen(statement, **numbers))
    administer(
        url,
        *(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}" for table, name, definition in keys),
        *(definition for _, definition in indexes),
        *(_RUNNING, _ATTEMPTS, _MINUTES, *_BESIDE.split(";")),
    )
    engine = engine_of(url)
    with engine.begin() as connection:
        roll_up_quarters(connection)
    engine.dispose()
    # In a life the quarters come one after the other, and lie so.
    administer(url, "CLUSTER spoils_quarters USING spoils_quarters_pkey", "VACUUM ANALYZE", "CHECKPOINT")


def _chosen(statement: str, **numbers: int) -> str:
    for name, number in numbers.items():
        statement = statement.replace(f":{name}", str(number))
    return statement
