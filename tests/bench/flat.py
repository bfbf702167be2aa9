"""Whether the drain stays what it is beside many other rows, many types, or somebody's open snapshot."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from tests.bench import fill
from tests.bench.drain import LONGEST_SECONDS, drain, rate_since, waiting, worker
from tests.bench.latency import await_idle_worker
from tests.bench.server import administer, ask
from tests.support import eventually

HEARTBEAT = "SELECT max(beat_at) FROM spoils_workers WHERE ended_at IS NULL"


def beside_history(url: str, number: int, rows: int) -> float:
    """Jobs a second beside `rows` finished rows."""
    fill.ended(url, rows)
    return _drained_beside(url, number)


def beside_the_future(url: str, number: int, rows: int) -> float:
    """Jobs a second beside `rows` rows that fall due tomorrow and later."""
    fill.waiting(url, rows, due="now() + interval '1 day' + n * interval '1 ms'")
    return _drained_beside(url, number, kept=rows)


def beside_a_foreign_backlog(url: str, number: int, rows: int) -> float:
    """Jobs a second beside `rows` waiting rows of a type that no worker here runs."""
    fill.waiting(url, rows, task_type="elsewhere", due="now() - n * interval '1 ms'")
    return _drained_beside(url, number)


def with_many_types(url: str, number: int, types: int) -> float:
    """Jobs a second of a worker that knows `types` further types."""
    return drain(url, number, BENCH_TYPES=str(types))


def under_a_snapshot(url: str, number: int, rounds: int, minutes: float) -> tuple[list[float], list[float]]:
    """Jobs a second of one worker: `rounds` rounds before another session opens a snapshot, and while it is held as
    many, and more until the time is over."""
    with worker(url, WORKER_THREADS="5"):
        await_idle_worker(url)
        before = [_one_round(url, number) for _ in range(rounds)]
        held: list[float] = []
        until = time.monotonic() + minutes * 60
        with _snapshot(url):
            while len(held) < rounds or time.monotonic() < until:
                held.append(_one_round(url, number))
    return before, held


def _one_round(url: str, number: int) -> float:
    """Jobs a second of a worker that lives on."""
    # While the backlog is put in nothing is claimed: the worker learns of it with its next heartbeat.
    administer(url, "INSERT INTO spoils_pauses (kind, name, paused_by) VALUES ('task_type', 'noop', 'bench')")
    for _ in range(2):
        heartbeat = ask(url, HEARTBEAT)
        eventually(lambda heartbeat=heartbeat: ask(url, HEARTBEAT) != heartbeat)
    started = ask(url, "SELECT clock_timestamp()")[0].isoformat()
    fill.waiting(url, number)
    administer(url, "CHECKPOINT", "DELETE FROM spoils_pauses")
    eventually(lambda: waiting(url) == 0, LONGEST_SECONDS, every=0.2)
    return rate_since(url, started, number)


def _drained_beside(url: str, number: int, *, kept: int = 0) -> float:
    """Jobs a second beside what is there; `kept` of those rows wait, of the same type."""
    try:
        return drain(url, number, fresh=False, left=lambda url: waiting(url) - kept)
    finally:
        administer(url, "TRUNCATE fang_tasks, spoils_minutes, spoils_attempts")


@contextmanager
def _snapshot(url: str) -> Iterator[None]:
    connection = psycopg2.connect(url)
    connection.set_session(isolation_level="REPEATABLE READ")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM spoils_workers")
    try:
        yield
    finally:
        connection.close()
