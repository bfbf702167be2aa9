"""How long after its commit a job's first line runs, on an idle worker; beside a bare loop that does nothing else."""

import select
import threading
import time

import psycopg2

from spoils.db.engine import make_engine
from spoils.queue.enqueue import enqueue
from tests.bench.drain import worker
from tests.bench.server import administer, ask
from tests.bench.stamps import Stamps
from tests.support import eventually

APART_SECONDS = 0.1
POLLED_APART_SECONDS = 0.37
"""No part of a second, so that every moment between two polls is tried."""


def pick_up(url: str, number: int, *, apart: float = APART_SECONDS) -> list[float]:
    """Milliseconds from the return of the commit to the job's first line, for `number` jobs one after the other."""
    engine = make_engine(url, connections=1, application_name="bench", autocommit=True)
    with worker(url) as program, engine.connect() as connection, Stamps() as stamps:
        await_idle_worker(url)
        committed = []
        pause = threading.Event()
        for one in range(number):
            enqueue(connection, stamps.job(one))
            committed.append(time.monotonic())
            pause.wait(apart)
        started = stamps.wait_for(number)
        program.stop()
    engine.dispose()
    return [(started[one] - moment) * 1000 for one, moment in enumerate(committed)]


def polled(url: str, number: int) -> list[float]:
    """The same where nobody is notified of what goes in."""
    administer(url, "ALTER TABLE fang_tasks DISABLE TRIGGER spoils_tasks_inserted")
    try:
        return pick_up(url, number, apart=POLLED_APART_SECONDS)
    finally:
        administer(url, "ALTER TABLE fang_tasks ENABLE TRIGGER spoils_tasks_inserted")


def bare_pick_up(url: str, number: int, *, apart: float = APART_SECONDS) -> list[float]:
    """The same for the shortest loop that there is: LISTEN, claim one row, commit, in one thread."""
    administer(
        url,
        "DROP TABLE IF EXISTS bare_queue",
        "CREATE TABLE bare_queue (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state text DEFAULT 'new', "
        "payload jsonb, due_at timestamptz DEFAULT now())",
        "CREATE INDEX ON bare_queue (due_at, id) WHERE state = 'new'",
    )
    started: dict[int, float] = {}
    ready = threading.Event()
    runner = threading.Thread(target=_listen_and_claim, args=(url, number, started, ready), daemon=True)
    runner.start()
    ready.wait()
    connection = psycopg2.connect(url)
    connection.autocommit = True
    cursor = connection.cursor()
    committed = {}
    pause = threading.Event()
    for one in range(number):
        cursor.execute(
            "WITH put AS (INSERT INTO bare_queue (payload) VALUES (%s)) SELECT pg_notify('bare', '')",
            (f'{{"number": {one}}}',),
        )
        committed[one] = time.monotonic()
        pause.wait(apart)
    runner.join(10)
    connection.close()
    return [(started[one] - moment) * 1000 for one, moment in committed.items()]


def _listen_and_claim(url: str, number: int, started: dict[int, float], ready: threading.Event) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("LISTEN bare")
    ready.set()
    while len(started) < number:
        select.select([connection], [], [], 5)
        connection.poll()
        connection.notifies.clear()
        cursor.execute(
            "UPDATE bare_queue SET state = 'running' WHERE id = (SELECT id FROM bare_queue WHERE state = 'new' "
            "AND due_at <= now() ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING payload"
        )
        for (payload,) in cursor.fetchall():
            started[payload["number"]] = time.monotonic()
    connection.close()


def await_idle_worker(url: str) -> None:
    """Wait until every worker has sent heartbeats for 2 s; at LOG_LEVEL=WARNING it says nothing."""
    started = "SELECT min(beat_at - started_at) > interval '2 s' FROM spoils_workers WHERE ended_at IS NULL"
    eventually(lambda: bool(ask(url, started)[0]), 60)


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    """p50, p95, p99 and the longest."""
    ordered = sorted(milliseconds)
    return {
        f"p{share}": ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 95, 99)
    } | {"max": ordered[-1]}
