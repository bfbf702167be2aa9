"""Alerts: each incident is found, told of once among any number of workers, and again when it comes back."""

import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from spoils.worker.alert_delivery import EVERY_SECONDS, AlertDelivery
from tests.locks import at_once
from tests.receivers import Webhook, a_webhook
from tests.rows import Rows

# Apprise imports a module that Python 3.13 has no longer, and does without it there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with a_webhook() as server:
        yield server


def lines(hook: Webhook) -> list[str]:
    return [line for _, body in hook.posts for line in body["message"].splitlines()]


def room(engine: Engine, hook: Webhook | None) -> AlertDelivery:
    url = hook and f"json://{hook.place}/"
    return AlertDelivery(engine=engine, url=url, wait_seconds=900, turn=threading.Lock())


def failure(rows: Rows, fingerprint: str = "abc", minutes_ago: float = 0, message: str = "boom") -> None:
    said = {"error_class": "ValueError", "message": message}
    rows.attempt(uuid4(), ago=minutes_ago * 60, fingerprint=fingerprint, **said)


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
    engine: Engine, rows: Rows, hook: Webhook
) -> None:
    failure(rows, message="no answer\nfrom db password=hunter2")
    failure(rows)
    failure(rows, "known", minutes_ago=11)
    failure(rows, "known")
    alerts = room(engine, hook)
    for _ in range(3):
        assert alerts.tick() == EVERY_SECONDS
    assert len(lines(hook)) == 1
    assert lines(hook)[0].startswith("New failure in sample: ValueError: ")
    assert "hunter2" not in lines(hook)[0]
    assert hook.posts[0][1]["title"] == "Spoils: 1 incident"


def test_operators_are_notified_of_a_type_without_a_worker_after_a_minute(
    engine: Engine, rows: Rows, hook: Webhook
) -> None:
    rows.task(due_in=-30)
    rows.task(due_in=-90, task_type="mail")
    rows.task(due_in=-90, task_type="mail")
    rows.task(due_in=3600, task_type="later")
    room(engine, hook).tick()
    assert lines(hook) == ["2 jobs of type mail wait and no running worker performs this type."]


def test_operators_are_notified_of_a_job_that_waits_too_long(
    engine: Engine, rows: Rows, hook: Webhook
) -> None:
    rows.worker()
    rows.task(due_in=-901)
    room(engine, hook).tick()
    assert lines(hook) == ["The oldest of 1 job of type sample has been due for 15 min."]
    rows.connection.execute(text("DELETE FROM fang_tasks"))
    rows.task(due_in=-890)
    rows.task(due_in=-9_000, priority=-5, task_type="limited")  # it waits for its limit, on purpose
    rows.connection.execute(text("UPDATE spoils_workers SET task_types = '{sample,limited}'"))
    room(engine, hook).tick()
    assert len(hook.posts) == 1


def test_a_job_of_a_class_that_no_worker_knows_is_reported_after_ten_minutes(
    engine: Engine, rows: Rows, hook: Webhook
) -> None:
    rows.worker(job_classes={"SampleJob": "1"})
    task_id = rows.task(metadata={"type": "ChargeCard"}, due_in=-595)
    rows.task(metadata={"type": "SampleJob"}, due_in=-10)
    alerts = room(engine, hook)
    alerts.tick()
    assert lines(hook) == []
    rows.connection.execute(text("UPDATE fang_tasks SET scheduled_at = now() - interval '601 s'"))
    rows.connection.execute(text("DELETE FROM fang_tasks WHERE id <> :id"), {"id": task_id})
    for _ in range(2):
        alerts.tick()
    assert lines(hook) == ["A job has been due for 10 min and no running worker knows its class, ChargeCard."]
    # Over once a worker knows it; then it is another incident.
    rows.worker(job_classes={"ChargeCard": "1"})
    later(rows)
    alerts.tick()
    assert rows.all("SELECT * FROM spoils_alerts") == []


def test_several_incidents_are_one_message(engine: Engine, rows: Rows, hook: Webhook) -> None:
    failure(rows)
    rows.task(due_in=-90)
    room(engine, hook).tick()
    assert [body["title"] for _, body in hook.posts] == ["Spoils: 2 incidents"]
    assert len(lines(hook)) == 2


def test_any_number_of_workers_notifies_once(engine: Engine, rows: Rows, hook: Webhook) -> None:
    for number in range(5):
        failure(rows, f"group{number}", message=f"boom {number}")
    rooms = [room(engine, hook) for _ in range(6)]
    for _ in range(3):
        at_once(6, lambda number: rooms[number].tick())
    assert sorted(lines(hook)) == [f"New failure in sample: ValueError: boom {number}" for number in range(5)]


def test_what_could_not_be_delivered_is_logged_and_tried_again_later(
    engine: Engine, rows: Rows, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    failure(rows)
    hook.status = 500
    alerts = room(engine, hook)
    alerts.tick()
    assert "Failed to deliver alert (1 incident)" in caplog.text
    hook.status = 200
    alerts.tick()
    assert len(hook.posts) == 1, "it is not tried again at once"
    later(rows, 90)
    alerts.tick()
    assert len(hook.posts) == 2
    assert rows.value("SELECT tries FROM spoils_alerts") == 2


def test_pauses_double_up_to_an_hour(engine: Engine, rows: Rows, hook: Webhook) -> None:
    failure(rows)
    hook.status = 500
    pauses = []
    for _ in range(9):
        room(engine, hook).tick()
        pauses.append(
            rows.value("SELECT round(extract(epoch FROM next_try_at - now()) / 60)::int FROM spoils_alerts")
        )
        rows.connection.execute(text("UPDATE spoils_alerts SET next_try_at = now() - interval '1 s'"))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_operators_are_notified_again_of_an_incident_that_recurs(
    engine: Engine, rows: Rows, hook: Webhook
) -> None:
    alerts = room(engine, hook)
    rows.task(due_in=-90)
    alerts.tick()
    rows.connection.execute(text("DELETE FROM fang_tasks"))
    alerts.tick()
    rows.task(due_in=-90)
    alerts.tick()
    assert len(hook.posts) == 1, "it was gone for too short a time"
    rows.connection.execute(text("DELETE FROM fang_tasks"))
    later(rows)
    alerts.tick()
    assert rows.value("SELECT count(*) FROM spoils_alerts") == 0
    rows.task(due_in=-90)
    alerts.tick()
    assert len(hook.posts) == 2


def test_without_a_url_no_incidents_are_detected(engine: Engine, rows: Rows) -> None:
    failure(rows)
    room(engine, None).tick()
    assert rows.value("SELECT count(*) FROM spoils_alerts") == 0
