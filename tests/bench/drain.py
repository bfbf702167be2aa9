"""How many no-op jobs a second a worker gets through, from a backlog that is there when it starts."""

from collections.abc import Callable

from tests.bench import fill
from tests.bench.server import administer, ask
from tests.programs import Program, start_worker
from tests.support import eventually

LONGEST_SECONDS = 300.0


def worker(url: str, **environment: str) -> Program:
    """Start a worker that knows the measured jobs, and do not wait for it."""
    jobs = "spoils.jobs,tests.bench.jobs"
    return start_worker(url, SPOILS_JOBS=jobs, LOG_LEVEL="WARNING", **environment)


def drain(
    url: str,
    number: int,
    *,
    processes: int = 1,
    threads: int = 5,
    fresh: bool = True,
    left: Callable[[str], int] | None = None,
    **environment: str,
) -> float:
    """Jobs a second, from the first claim to the last settlement, both as the database saw them."""
    if fresh:
        administer(url, "TRUNCATE fang_tasks, spoils_minutes, spoils_attempts")
    fill.waiting(url, number)
    administer(url, "CHECKPOINT")
    started = ask(url, "SELECT clock_timestamp()")[0].isoformat()
    with worker(url, WORKER_THREADS=str(threads), WORKER_PROCESSES=str(processes), **environment) as program:
        eventually(lambda: (left or waiting)(url) == 0, LONGEST_SECONDS, every=0.2)
        program.stop()
    return rate_since(url, started, number)


def rate_since(url: str, started: str, number: int) -> float:
    """Jobs a second of those that were claimed since that moment, from the first claim to the last settlement."""
    done, seconds = ask(
        url,
        "SELECT count(*), extract(epoch FROM max(updated_at) - min(claimed_at))::float FROM fang_tasks "
        f"WHERE state = 'finished' AND claimed_at > '{started}'",
    )
    assert done == number, f"{done} of {number} jobs are finished."
    return float(number / seconds)


def uncounted(url: str, number: int) -> float:
    """The same where nothing keeps the counts by type and state true."""
    administer(url, "ALTER TABLE fang_tasks DISABLE TRIGGER spoils_tasks_updated")
    try:
        return drain(url, number, left=any_left)
    finally:
        administer(url, "ALTER TABLE fang_tasks ENABLE TRIGGER spoils_tasks_updated")


def waiting(url: str) -> int:
    """How many tasks of the drained type wait or run."""
    # From the counts, not from the table: the query must not cost what is measured.
    number = ask(
        url,
        "SELECT coalesce(sum(delta), 0) FROM spoils_counts "
        "WHERE task_type = 'noop' AND state IN ('new', 'in_progress', 'retried')",
    )[0]
    return int(number)


def any_left(url: str) -> int:
    """Whether anything waits or runs, by the first entry of an index."""
    looks = " OR ".join(
        f"EXISTS (SELECT FROM fang_tasks WHERE {condition})"
        for condition in ("task_type = 'noop' AND state IN ('new', 'retried')", "state = 'in_progress'")
    )
    return int(ask(url, f"SELECT ({looks})::int")[0])
