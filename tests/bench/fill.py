"""Filling the table with rows, many at a time."""

from tests.bench.server import administer

NOOP = '{"number": 0, "type": "NoopJob"}'


def waiting(
    url: str,
    number: int,
    *,
    task_type: str = "noop",
    metadata: str = NOOP,
    due: str = "now()",
    vacuum: bool = True,
) -> None:
    """Insert `number` waiting tasks; `due` is an SQL expression, in which `n` counts the rows."""
    administer(
        url,
        "INSERT INTO fang_tasks (metadata, task_type, scheduled_at) "
        f"SELECT '{metadata}', '{task_type}', {due} FROM generate_series(1, {number}) AS n",
        *(["VACUUM ANALYZE fang_tasks"] if vacuum else []),
    )


def ended(url: str, number: int, *, state: str = "finished", task_type: str = "noop") -> None:
    """Insert `number` tasks that have ended, a millisecond apart, the last one now."""
    error = "'ValueError: It failed.'" if state == "failed" else "NULL"
    administer(
        url,
        "INSERT INTO fang_tasks (metadata, task_type, state, attempts, error_message, scheduled_at, created_at, "
        "updated_at, claimed_at, claimed_by) "
        f"SELECT '{NOOP}', '{task_type}', '{state}', 1, {error}, moment, moment, moment, moment, "
        "'00000000-0000-0000-0000-000000000000' "
        f"FROM (SELECT now() - (({number} - n) || ' ms')::interval AS moment "
        f"FROM generate_series(1, {number}) AS n) AS rows",
        "VACUUM ANALYZE fang_tasks",
    )
