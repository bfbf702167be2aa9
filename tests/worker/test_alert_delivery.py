"""Alerts: operators are notified of each incident once, of its end, and again if it recurs."""

import threading
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from spoils.reports.alerts import MOST, path_of
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


def room(engine: Engine, hook: Webhook | None, dashboard_url: str | None = None) -> AlertDelivery:
    url = hook and f"json://{hook.place}/"
    return AlertDelivery(
        engine=engine, url=url, dashboard_url=dashboard_url, wait_seconds=900, turn=threading.Lock()
    )


def failure(
    rows: Rows,
    fingerprint: str = "abc",
    minutes_ago: float = 0,
    *,
    task_id: UUID | None = None,
    attempt: int = 1,
    outcome: str = "failed",
    **columns: str,
) -> None:
    said = {"error_class": "ValueError", "message": "boom", **columns}
    rows.attempt(task_id or uuid4(), attempt, outcome, ago=minutes_ago * 60, fingerprint=fingerprint, **said)


def later(rows: Rows, seconds: float = 7200) -> None:
    """As if all that is known of incidents were `seconds` older."""
    rows.connection.execute(
        text(
            "UPDATE spoils_alerts SET seen_at = seen_at - make_interval(secs => :s), "
            "opened_at = opened_at - make_interval(secs => :s), next_try_at = next_try_at - make_interval(secs => :s)"
        ),
        {"s": seconds},
    )


def test_operators_are_notified_of_a_new_group_of_failures_once(
    engine: Engine, rows: Rows, hook: Webhook
) -> None:
    failure(rows, minutes_ago=1)
    failure(rows, message="no answer\nfrom db password=hunter2")
    alerts = room(engine, hook, "https://queue.example.com")
    for _ in range(3):
        assert alerts.tick() == EVERY_SECONDS
    assert len(lines(hook)) == 1
    assert lines(hook)[0].startswith("New failure in sample: ValueError: no answer from db password=")
    assert lines(hook)[0].endswith(" (2 attempts in 10 min) https://queue.example.com/errors/abc")
    assert "hunter2" not in lines(hook)[0]
    assert hook.posts[0][1]["title"] == "Spoils, queue.example.com: 1 incident"
    later(rows)
    alerts.tick()
    assert len(hook.posts) == 1, "the group is known"


def test_a_failure_that_its_retry_may_mend_is_no_incident_until_the_retry_fails(
    engine: Engine, rows: Rows, hook: Webhook
) -> None:
    task_id, impatient = uuid4(), uuid4()
    failure(rows, "flaky", minutes_ago=30, task_id=task_id, outcome="retried")
    failure(rows, "flaky", outcome="retried")
    for attempt in (1, 2, 3):  # the upstream says when to come back
        said = f"…\nspoils.job.outcome.RetryLater: attempt {attempt}"
        failure(rows, "later", task_id=impatient, attempt=attempt, outcome="retried", traceback=said)
    alerts = room(engine, hook)
    alerts.tick()
    assert hook.posts == []
    failure(rows, "flaky", task_id=task_id, attempt=2, outcome="timed_out")
    failure(rows, "later", task_id=impatient, attempt=4, traceback="…\nspoils.job.outcome.RetryLater: 4")
    alerts.tick()
    assert sorted(lines(hook)) == [
        "New failure in sample: ValueError: boom (2 attempts in 10 min)",
        "New failure in sample: ValueError: boom (4 attempts in 10 min)",
    ]


def test_a_flood_of_new_groups_is_cut(engine: Engine, rows: Rows, hook: Webhook) -> None:
    for number in range(MOST + 5):
        failure(rows, f"group{number}")
    alerts = room(engine, hook)
    for _ in range(3):
        alerts.tick()
    assert len(lines(hook)) == MOST


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
    database = engine.url.database
    assert [body["title"] for _, body in hook.posts] == [f"Spoils, database {database}: 2 incidents"]
    assert len(lines(hook)) == 2


def test_any_number_of_workers_notifies_once(engine: Engine, rows: Rows, hook: Webhook) -> None:
    for number in range(5):
        failure(rows, f"group{number}", message=f"boom {number}")
    rooms = [room(engine, hook) for _ in range(6)]
    for _ in range(3):
        at_once(6, lambda number: rooms[number].tick())
    assert sorted(lines(hook)) == [
        f"New failure in sample: ValueError: boom {number} (1 attempt in 10 min)" for number in range(5)
    ]


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
    rows.connection.execute(text("UPDATE spoils_alerts SET opened_at = seen_at - interval '35 min'"))
    later(rows)
    alerts.tick()
    assert rows.value("SELECT count(*) FROM spoils_alerts") == 0
    assert lines(hook)[1:] == [f"Over after 35 min: {lines(hook)[0]}"]
    assert hook.posts[1][1]["title"].endswith(": 1 over")
    rows.task(due_in=-90)
    alerts.tick()
    assert lines(hook)[2:] == lines(hook)[:1]


def test_operators_are_notified_of_an_end_only_if_they_know_of_the_incident(
    engine: Engine, rows: Rows, hook: Webhook
) -> None:
    rows.connection.execute(
        text(
            "INSERT INTO spoils_alerts (key, sentence, sent_at) VALUES "
            "('untaken:a', 'Never delivered.', NULL), ('missed:1', 'A tick was missed.', now())"
        )
    )
    later(rows)
    room(engine, hook).tick()
    assert hook.posts == []
    assert rows.value("SELECT count(*) FROM spoils_alerts") == 0


def test_an_end_that_could_not_be_delivered_is_tried_again(engine: Engine, rows: Rows, hook: Webhook) -> None:
    rows.connection.execute(
        text("INSERT INTO spoils_alerts (key, sentence, sent_at) VALUES ('behind:a', 'Slow.', now())")
    )
    later(rows)
    hook.status = 500
    alerts = room(engine, hook)
    alerts.tick()
    hook.status = 200
    later(rows, 90)
    alerts.tick()
    alerts.tick()
    assert lines(hook) == ["Over after 0 s: Slow."] * 2  # the first one was refused


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("untaken:a b&c", "/jobs?state=waiting&type=a+b%26c"),
        ("over:behind:mail", "/jobs?state=waiting&type=mail"),
        ("unknown:ChargeCard", "/jobs?state=waiting"),
        ("group:crashed:mail", "/errors/crashed%3Amail"),
        ("missed:7", "/schedules"),
        ("over:failing:7", "/schedules"),
    ],
)
def test_an_incident_leads_to_the_page_that_shows_it(key: str, path: str) -> None:
    assert path_of(key) == path


def test_without_a_url_no_incidents_are_detected(engine: Engine, rows: Rows) -> None:
    failure(rows)
    room(engine, None).tick()
    assert rows.value("SELECT count(*) FROM spoils_alerts") == 0
