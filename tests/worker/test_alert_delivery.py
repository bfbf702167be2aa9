"""Alerts: each incident is found, told of once among any number of workers, and again when it comes back."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import Engine, text

from spoils.worker.alert_delivery import EVERY_SECONDS, AlertDelivery
from tests.locks import at_once
from tests.rows import Rows

# Apprise imports a module that Python 3.13 has no longer, and does without it there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class Hook(ThreadingHTTPServer):
    """A webhook that keeps what it is sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server_address[1]}/"

    @property
    def lines(self) -> list[str]:
        return [line for body in self.bodies for line in body["message"].splitlines()]


class Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200:
            self.server.bodies.append(body)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def room(engine: Engine, url: str | None) -> AlertDelivery:
    return AlertDelivery(engine=engine, url=url, wait_seconds=900, turn=threading.Lock())


def failure(rows: Rows, fingerprint: str = "abc", minutes_ago: float = 0, message: str = "boom") -> None:
    rows.connection.execute(
        text(
            "INSERT INTO spoils_attempts "
            "(task_id, attempt, task_type, outcome, ended_at, fingerprint, error_class, message) VALUES "
            "(gen_random_uuid(), 1, 'sample', 'retried', now() - make_interval(secs => :ago), :key, "
            "'ValueError', :said)"
        ),
        {"ago": minutes_ago * 60, "key": fingerprint, "said": message},
    )


def later(rows: Rows, seconds: float = 7200) -> None:
    """As if all that is known of incidents were older by so many seconds."""
    rows.connection.execute(
        text(
            "UPDATE spoils_alerts SET seen_at = seen_at - make_interval(secs => :s), "
            "next_try_at = next_try_at - make_interval(secs => :s)"
        ),
        {"s": seconds},
    )


def test_operators_are_notified_of_a_new_group_of_failures_once(
    engine: Engine, rows: Rows, hook: Hook
) -> None:
    failure(rows, message="no answer\nfrom db password=hunter2")
    failure(rows)
    failure(rows, "known", minutes_ago=11)
    failure(rows, "known")
    alerts = room(engine, hook.url)
    for _ in range(3):
        assert alerts.tick() == EVERY_SECONDS
    assert len(hook.lines) == 1
    assert hook.lines[0].startswith("New failure in sample: ValueError: ")
    assert "hunter2" not in hook.lines[0]
    assert hook.bodies[0]["title"] == "Spoils: 1 incident"


def test_operators_are_notified_of_a_type_without_a_worker_after_a_minute(
    engine: Engine, rows: Rows, hook: Hook
) -> None:
    rows.task(due_in=-30)
    rows.task(due_in=-90, task_type="mail")
    rows.task(due_in=-90, task_type="mail")
    rows.task(due_in=3600, task_type="later")
    room(engine, hook.url).tick()
    assert hook.lines == ["2 jobs of type mail wait and no running worker performs this type."]


def test_operators_are_notified_of_a_job_that_waits_too_long(engine: Engine, rows: Rows, hook: Hook) -> None:
    rows.worker()
    rows.task(due_in=-901)
    room(engine, hook.url).tick()
    assert hook.lines == ["The oldest of 1 job of type sample has been due for 15 min."]
    rows.connection.execute(text("DELETE FROM fang_tasks"))
    rows.task(due_in=-890)
    rows.task(due_in=-9_000, priority=-5, task_type="limited")  # it waits for its limit, on purpose
    rows.connection.execute(text("UPDATE spoils_workers SET task_types = '{sample,limited}'"))
    room(engine, hook.url).tick()
    assert len(hook.bodies) == 1


def test_a_job_of_a_class_that_no_worker_knows_is_reported_after_ten_minutes(
    engine: Engine, rows: Rows, hook: Hook
) -> None:
    rows.worker(job_classes={"SampleJob": "1"})
    task_id = rows.task(metadata={"type": "ChargeCard"}, due_in=-595)
    rows.task(metadata={"type": "SampleJob"}, due_in=-10)
    alerts = room(engine, hook.url)
    alerts.tick()
    assert hook.lines == []
    rows.connection.execute(text("UPDATE fang_tasks SET scheduled_at = now() - interval '601 s'"))
    rows.connection.execute(text("DELETE FROM fang_tasks WHERE id <> :id"), {"id": task_id})
    for _ in range(2):
        alerts.tick()
    assert hook.lines == ["A job has been due for 10 min and no running worker knows its class, ChargeCard."]
    # Over once a worker knows it; then it is another incident.
    rows.worker(job_classes={"ChargeCard": "1"})
    later(rows)
    alerts.tick()
    assert rows.all("SELECT * FROM spoils_alerts") == []


def test_several_incidents_are_one_message(engine: Engine, rows: Rows, hook: Hook) -> None:
    failure(rows)
    rows.task(due_in=-90)
    room(engine, hook.url).tick()
    assert [body["title"] for body in hook.bodies] == ["Spoils: 2 incidents"]
    assert len(hook.lines) == 2


def test_any_number_of_workers_notifies_once(engine: Engine, rows: Rows, hook: Hook) -> None:
    for number in range(5):
        failure(rows, f"group{number}", message=f"boom {number}")
    rooms = [room(engine, hook.url) for _ in range(6)]
    for _ in range(3):
        at_once(6, lambda number: rooms[number].tick())
    assert sorted(hook.lines) == [f"New failure in sample: ValueError: boom {number}" for number in range(5)]


def test_what_could_not_be_delivered_is_logged_and_tried_again_later(
    engine: Engine, rows: Rows, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    failure(rows)
    hook.status = 500
    alerts = room(engine, hook.url)
    alerts.tick()
    assert "Failed to deliver alert (1 incident)" in caplog.text
    hook.status = 200
    alerts.tick()
    assert hook.bodies == [], "it is not tried again at once"
    later(rows, 90)
    alerts.tick()
    assert len(hook.bodies) == 1
    assert rows.value("SELECT tries FROM spoils_alerts") == 2


def test_pauses_double_up_to_an_hour(engine: Engine, rows: Rows, hook: Hook) -> None:
    failure(rows)
    hook.status = 500
    pauses = []
    for _ in range(9):
        room(engine, hook.url).tick()
        pauses.append(
            rows.value("SELECT round(extract(epoch FROM next_try_at - now()) / 60)::int FROM spoils_alerts")
        )
        rows.connection.execute(text("UPDATE spoils_alerts SET next_try_at = now() - interval '1 s'"))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_operators_are_notified_again_of_an_incident_that_recurs(
    engine: Engine, rows: Rows, hook: Hook
) -> None:
    alerts = room(engine, hook.url)
    rows.task(due_in=-90)
    alerts.tick()
    rows.connection.execute(text("DELETE FROM fang_tasks"))
    alerts.tick()
    rows.task(due_in=-90)
    alerts.tick()
    assert len(hook.bodies) == 1, "it was gone for too short a time"
    rows.connection.execute(text("DELETE FROM fang_tasks"))
    later(rows)
    alerts.tick()
    assert rows.value("SELECT count(*) FROM spoils_alerts") == 0
    rows.task(due_in=-90)
    alerts.tick()
    assert len(hook.bodies) == 2


def test_without_a_url_no_incidents_are_detected(engine: Engine, rows: Rows) -> None:
    failure(rows)
    room(engine, None).tick()
    assert rows.value("SELECT count(*) FROM spoils_alerts") == 0
