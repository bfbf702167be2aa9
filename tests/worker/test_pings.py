"""`ping_url`: called after jobs of ticks have finished, once, by a job of the queue's own."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from spoils.builtin.ping import PingFailed, PingJob, call
from spoils.errors import JobDefinitionError
from spoils.job import Job, Queue
from spoils.job.cron import Cron
from spoils.queue import schedules
from spoils.testing import perform
from spoils.worker.maintenance import Maintenance
from spoils.worker.scheduler import Scheduler
from tests.locks import at_once
from tests.rows import Rows
from tests.sample_jobs import SampleJob


class Monitor(ThreadingHTTPServer):
    """Counts the calls of each path, and answers with its status."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[str] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/s3cret"


class Handler(BaseHTTPRequestHandler):
    server: Monitor

    def do_GET(self) -> None:
        self.server.calls.append(self.path)
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with Monitor() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def maintenance(engine: Engine) -> Maintenance:
    return Maintenance(
        engine=engine,
        worker_id=uuid4(),
        task_types=["sample"],
        shared_with_fang=False,
        foreign_claim_timeout=None,
        turn=threading.Lock(),
    )


def ticked(rows: Rows, schedule_id: int, task_id: UUID, ago: str = "1 minute") -> None:
    rows.connection.execute(
        text(
            "INSERT INTO spoils_ticks (schedule_id, slot, outcome, task_id) "
            "VALUES (:schedule, now() - CAST(:ago AS interval), 'entered', :task)"
        ),
        {"schedule": schedule_id, "task": task_id, "ago": ago},
    )


def made(rows: Rows, url: str | None) -> int:
    cron, job = Cron("0 2 * * *"), SampleJob()
    return schedules.create(
        rows.connection, name="nightly", job=job, payload={}, cron=cron, who="ann", ping_url=url
    ).id


def pings(rows: Rows) -> int:
    found: int = rows.value("SELECT count(*) FROM fang_tasks WHERE task_type = 'ping'")
    return found


def test_one_call_is_enqueued_for_jobs_that_have_finished_and_none_for_others(
    engine: Engine, rows: Rows
) -> None:
    schedule_id = made(rows, "https://hc-ping.com/s3cret")
    running = rows.task(state="in_progress", claimed_by=rows.worker())
    ticked(rows, schedule_id, running)
    ticked(rows, schedule_id, rows.task(state="failed"), "2 minutes")
    ticked(rows, schedule_id, rows.task(state="finished"), "2 days")
    at_once(4, lambda _: maintenance(engine).tick())
    assert pings(rows) == 0
    for ago in ("3 minutes", "4 minutes"):
        ticked(rows, schedule_id, rows.task(state="finished"), ago)
    at_once(4, lambda _: maintenance(engine).tick())
    assert pings(rows) == 1
    rows.connection.execute(text("DELETE FROM fang_tasks WHERE task_type = 'ping'"))
    maintenance(engine).tick()
    assert pings(rows) == 0
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'finished' WHERE id = :id"), {"id": running})
    maintenance(engine).tick()
    assert rows.all("SELECT metadata FROM fang_tasks WHERE task_type = 'ping'") == [
        ({"type": "PingJob", "schedule_id": schedule_id},)
    ]


def test_without_a_url_nothing_is_enqueued(engine: Engine, rows: Rows) -> None:
    ticked(rows, made(rows, None), rows.task(state="finished"))
    maintenance(engine).tick()
    assert pings(rows) == 0


def test_a_class_has_a_url_for_its_own_schedule(engine: Engine, rows: Rows) -> None:
    class PingedTickJob(Job):
        cron = "0 2 * * *"
        ping_url = "https://hc-ping.com/s3cret"

        def run(self, queue: Queue) -> None:
            return None

    Scheduler(engine=engine, jobs=[PingedTickJob], default_zone="UTC", turn=threading.Lock()).tick()
    assert rows.all("SELECT job, ping_url FROM spoils_schedules") == [
        ("PingedTickJob", "https://hc-ping.com/s3cret")
    ]
    with pytest.raises(JobDefinitionError, match="ping_url is a URL"):

        class OddPingJob(Job):
            ping_url = "hc-ping.com"

            def run(self, queue: Queue) -> None:
                return None


def test_the_job_calls_the_url_and_a_failure_names_the_host_only(
    database_url: str, rows: Rows, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    schedule_id = made(rows, monitor.url)
    assert perform(PingJob(schedule_id=schedule_id)).outcome == "finished"
    assert monitor.calls == ["/s3cret"]
    for monitor.status in (302, 404, 500):
        with pytest.raises(PingFailed, match=f"127.0.0.1 answered {monitor.status}"):
            call(monitor.url)
    assert "/elsewhere" not in monitor.calls
    with pytest.raises(PingFailed) as refused:
        call("http://127.0.0.1:1/s3cret")
    assert "s3cret" not in str(refused.value)
    assert perform(PingJob(schedule_id=schedule_id + 1)).outcome == "finished"
