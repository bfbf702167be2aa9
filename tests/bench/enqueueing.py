"""How many jobs a second go in: one by one, many at once, and over HTTP; beside a bare INSERT and COPY."""

import io
import itertools
import threading
import time
from collections.abc import Callable
from uuid import uuid4

import psycopg2
import requests

from spoils.db.engine import make_engine
from spoils.job import Job
from spoils.queue.enqueue import enqueue_surely
from spoils.queue.enqueue_many import enqueue_many
from tests.bench.http_client import Client
from tests.bench.jobs import NoopJob, UniqueNoopJob
from tests.bench.server import administer
from tests.programs import Web
from tests.support import eventually

TOKEN = "bench-token-of-some-length"


def one_by_one(url: str, clients: int, seconds: float) -> float:
    """Jobs a second through `enqueue`, each committed."""
    engine = make_engine(url, connections=clients, application_name="bench", autocommit=True)
    try:
        return _in_threads(clients, seconds, lambda: lambda: enqueue_surely(engine, NoopJob()))
    finally:
        engine.dispose()


def bare_inserts(url: str, clients: int, seconds: float) -> float:
    """Rows a second by the plainest INSERT into the same table, with its triggers, each committed."""

    def client() -> Callable[[], object]:
        connection = psycopg2.connect(url)
        cursor = connection.cursor()

        def put() -> None:
            cursor.execute(
                "INSERT INTO fang_tasks (id, metadata, task_type) VALUES (%s, %s, 'noop')",
                (str(uuid4()), '{"number": 0, "type": "NoopJob"}'),
            )
            connection.commit()

        return put

    return _in_threads(clients, seconds, client)


def many(url: str, number: int, make: Callable[[int], Job]) -> float:
    """Jobs a second through `enqueue_many`, all in one transaction."""
    engine = make_engine(url, connections=1, application_name="bench")
    jobs = [make(one) for one in range(number)]
    with engine.connect() as connection:
        started = time.monotonic()
        enqueue_many(connection, jobs)
        connection.commit()
        seconds = time.monotonic() - started
    engine.dispose()
    return number / seconds


def plain(number: int) -> Job:
    return NoopJob(number=number)


def unique(number: int) -> Job:
    return UniqueNoopJob(number=number)


def copy(url: str, number: int) -> float:
    """Rows a second by COPY into the same table."""
    connection = psycopg2.connect(url)
    cursor = connection.cursor()
    started = time.monotonic()
    lines = "".join(f'{uuid4()}\t{{"number": {one}, "type": "NoopJob"}}\tnoop\n' for one in range(number))
    cursor.copy_expert("COPY fang_tasks (id, metadata, task_type) FROM STDIN", io.StringIO(lines))
    connection.commit()
    seconds = time.monotonic() - started
    connection.close()
    return number / seconds


def over_http(url: str, clients: int, seconds: float) -> float:
    """Requests a second that POST a fetch to gunicorn with two workers, each with another barcode and the token."""
    administer(url, "TRUNCATE fang_tasks")
    with Web(url, WEB_CONCURRENCY="2", SPOILS_API_TOKEN=TOKEN) as web:
        # A process that still loads takes no clients, and those that come now stay for the whole round.
        eventually(lambda: web.output.count("Booting worker") == 2)
        eventually(lambda: requests.get(f"{web.url}/health", timeout=10).ok)
        barcodes = itertools.count(10_000_000)
        host, _, port = web.url.removeprefix("http://").partition(":")

        def client() -> Callable[[], object]:
            one = Client(host, int(port), path="/api/jobs/fetch-product", token=TOKEN)
            return lambda: one.post(b'{"barcode": "%d"}' % next(barcodes))

        return _in_threads(clients, seconds, client)


def _in_threads(clients: int, seconds: float, make: Callable[[], Callable[[], object]]) -> float:
    barrier = threading.Barrier(clients + 1)
    counts = [0] * clients
    stop = threading.Event()

    def run(number: int) -> None:
        step = make()
        step()
        barrier.wait()
        while not stop.is_set():
            step()
            counts[number] += 1

    threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in range(clients)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.monotonic()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - started)
