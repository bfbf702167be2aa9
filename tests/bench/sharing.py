"""Whether types, workers and threads share: a flood beside a fresh task, slow jobs between two workers, a mix."""

import http.server
import threading
import time
from contextlib import ExitStack

from spoils.db.engine import make_engine
from spoils.queue.enqueue import enqueue
from tests.bench import fill
from tests.bench.drain import worker
from tests.bench.server import administer, ask
from tests.bench.stamps import Stamps
from tests.support import eventually


def fresh_beside_a_flood(url: str, flood: int, fresh: int) -> list[float]:
    """Milliseconds from the commit of fresh tasks of one type to their first line while another type's flood drains."""
    administer(url, "TRUNCATE fang_tasks")
    fill.waiting(url, flood)
    engine = make_engine(url, connections=1, application_name="bench", autocommit=True)
    with worker(url) as program, engine.connect() as connection, Stamps() as stamps:
        finished = "SELECT count(*) FROM fang_tasks WHERE state = 'finished'"
        eventually(lambda: ask(url, finished)[0] > 0, 120)
        committed = []
        pause = threading.Event()
        for number in range(fresh):
            enqueue(connection, stamps.job(number))
            committed.append(time.monotonic())
            pause.wait(0.05)
        left = ask(url, "SELECT count(*) FROM fang_tasks WHERE task_type = 'noop' AND state = 'new'")[0]
        started = stamps.wait_for(fresh)
        program.stop()
    engine.dispose()
    assert left, "The flood was over before the fresh tasks were."
    return [(started[number] - moment) * 1000 for number, moment in enumerate(committed)]


def slow_jobs_between_two(url: str, number: int, seconds: float, threads: int = 5) -> dict[str, object]:
    """How two workers share a backlog of slow jobs, and how far beyond the least possible time it takes."""
    administer(url, "TRUNCATE fang_tasks")
    with ExitStack() as stack:
        programs = [stack.enter_context(worker(url, WORKER_THREADS=str(threads))) for _ in range(2)]
        live = "SELECT count(*) FROM spoils_workers WHERE ended_at IS NULL"
        eventually(lambda: ask(url, live)[0] == 2, 120)
        fill.waiting(
            url,
            number,
            task_type="slow",
            metadata=f'{{"type": "SlowJob", "seconds": {seconds}}}',
            vacuum=False,
        )
        left = "SELECT count(*) FROM fang_tasks WHERE state <> 'finished'"
        eventually(lambda: ask(url, left)[0] == 0, 120, every=0.1)
        for program in programs:
            program.stop()
    shares = ask(
        url, "SELECT array_agg(n) FROM (SELECT count(*) AS n FROM fang_tasks GROUP BY claimed_by) AS shares"
    )
    took = ask(url, "SELECT extract(epoch FROM max(updated_at) - min(claimed_at))::float FROM fang_tasks")[0]
    return {"shares": sorted(shares[0]), "seconds": took, "least": number * seconds / (2 * threads)}


def realistic_mix(url: str, number: int, threads: int = 20) -> float:
    """The share of its threads' time that a worker spends on jobs: 70 % in a session, 30 % HTTP, 1 % failing.

    All are of one type: of two, which take turns, half of each would run at first, and only sessions in the end.
    """
    administer(url, "TRUNCATE fang_tasks, spoils_minutes, spoils_attempts")
    with _SlowService() as service:
        sessions, calls = number * 7 // 10, number * 3 // 10
        # Of one moment and with random ids, so that they come in no order.
        administer(
            url,
            "INSERT INTO fang_tasks (id, metadata, task_type) "
            "SELECT gen_random_uuid(), jsonb_build_object('type', 'SessionJob', 'number', n), 'mix' "
            f"FROM generate_series(1, {sessions}) AS n UNION ALL "
            f"SELECT gen_random_uuid(), jsonb_build_object('type', 'CallJob', 'url', '{service}'), 'mix' "
            f"FROM generate_series(1, {calls})",
        )
        with worker(url, WORKER_THREADS=str(threads), SPOILS_DB_CONNECTIONS="24") as program:
            # Seldom: each query reads the whole table, on the processors that are measured.
            left = "SELECT count(*) FROM fang_tasks WHERE state NOT IN ('finished', 'failed')"
            eventually(lambda: ask(url, left)[0] == 0, 300, every=1.0)
            program.stop()
    least = (sessions * 0.02 + calls * 0.1) / threads
    took = ask(url, "SELECT extract(epoch FROM max(updated_at) - min(claimed_at))::float FROM fang_tasks")[0]
    spent = ask(url, "SELECT sum(ran_ms)::float / 1000 FROM spoils_minutes")[0]
    failed = ask(url, "SELECT count(*) FROM fang_tasks WHERE state = 'failed'")[0]
    assert failed == sessions // 100, f"{failed} failed"
    assert spent / threads >= least * 0.99
    return float(spent / threads / took)


class _SlowService:
    """A service on loopback that answers after a tenth of a second."""

    def __enter__(self) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                threading.Event().wait(0.1)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
