"""Reads: the status of the queue, one job with its attempts, one product with its analysis."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.rows import Rows
from tests.web.conftest import MakeClient

DOOR = {"Authorization": "Bearer t0ken"}
STATES = ("new", "in_progress", "failed", "finished", "retried")


@pytest.fixture
def client(client_with: MakeClient) -> FlaskClient:
    return client_with(SPOILS_API_TOKEN="t0ken")


def get(client: FlaskClient, path: str) -> dict:
    response = client.get(path, headers=DOOR)
    assert response.status_code == 200, response.get_data(as_text=True)
    return response.get_json()


def test_the_status_counts_every_state_of_every_type(client: FlaskClient, rows: Rows) -> None:
    for number, state in enumerate(STATES, start=1):
        for _ in range(number):
            rows.task(state=state, task_type="first")
    rows.task(task_type="common", due_in=3600)
    gone = rows.task(task_type="gone")
    rows.all("DELETE FROM fang_tasks WHERE id = :id RETURNING id", id=gone)
    answer = get(client, "/api/jobs/status")
    assert answer.keys() == {"message", "status", "counts", "counts_by_type", "workers", "schedules"}
    assert (answer["message"], answer["status"]) == ("Job queue is operational", "running")
    assert answer["counts"] == {"new": 2, "in_progress": 2, "failed": 3, "finished": 4, "retried": 5}
    assert answer["counts_by_type"] == {
        "common": {**dict.fromkeys(STATES, 0), "new": 1},
        "first": dict(zip(STATES, range(1, 6), strict=True)),
    }


def test_the_status_lists_the_workers_with_a_recent_heartbeat(client: FlaskClient, rows: Rows) -> None:
    living = rows.worker(silent_for=5)
    rows.worker(silent_for=31)
    rows.worker(ended=True)
    (worker,) = get(client, "/api/jobs/status")["workers"]
    beat = datetime.fromisoformat(worker.pop("beat_at"))
    assert timedelta(seconds=4) < datetime.now(UTC) - beat < timedelta(seconds=30)
    assert worker.pop("started_at").endswith("Z")
    assert worker == {
        "id": str(living),
        "host": "test",
        "pid": 1,
        "release": "dev",
        "task_types": ["sample"],
        "threads": 5,
        "running": 0,
    }


@pytest.mark.parametrize(("zone", "hour"), [("UTC", 2), ("Asia/Tokyo", 17)])
def test_the_status_has_the_next_tick_of_each_schedule_in_its_time_zone(
    client_with: MakeClient, rows: Rows, zone: str, hour: int
) -> None:
    client = client_with(SPOILS_CRON_TIMEZONE=zone)

    def cleanup() -> dict:
        (schedule,) = [
            one
            for one in client.get("/api/jobs/status").get_json()["schedules"]
            if one["job"] == "CleanupJob"
        ]
        return schedule

    schedule = cleanup()
    tick = datetime.fromisoformat(schedule.pop("next"))
    assert (tick.hour, tick.minute, tick.second) == (hour, 0, 0)
    assert timedelta(0) < tick - datetime.now(UTC) <= timedelta(days=1)
    assert schedule == {"job": "CleanupJob", "cron": "0 2 * * *", "timezone": zone, "known_to_workers": False}
    rows.all(
        "INSERT INTO spoils_schedules (job, cron, zone, task_type) "
        "VALUES ('CleanupJob', '0 2 * * *', :zone, 'cleanup') RETURNING id",
        zone=zone,
    )
    assert cleanup()["known_to_workers"] is True


def test_a_job_has_all_its_fields(client: FlaskClient, rows: Rows) -> None:
    worker = uuid4()
    task_id = rows.task(
        state="retried",
        metadata={"type": "FetchProductJob", "barcode": "737628064502"},
        task_type="fetch_product",
        due_in=60,
        error_message="503: busy",
        retries=1,
        attempts=2,
        crashes=1,
        priority=-2,
        claimed_by=worker,
        claimed_at="2026-11-24T02:00:00.5+02:00",
        created_at="2026-11-24T01:00:00Z",
    )
    answer = get(client, f"/api/jobs/{task_id}")
    moments = {name: answer.pop(name) for name in ("scheduled_at", "updated_at")}
    assert all(datetime.fromisoformat(moment).utcoffset() == timedelta(0) for moment in moments.values())
    assert answer == {
        "id": str(task_id),
        "state": "retried",
        "task_type": "fetch_product",
        "metadata": {"type": "FetchProductJob", "barcode": "737628064502"},
        "error": "503: busy",
        "retries": 1,
        "attempts": 2,
        "crashes": 1,
        "priority": -2,
        "created_at": "2026-11-24T01:00:00Z",
        "claimed_at": "2026-11-24T00:00:00.500000Z",
        "claimed_by": str(worker),
        "cancel_requested_at": None,
        "ran_ms": None,
        "attempt_log": [],
        "steps": [],
        "batch_id": None,
        "result": None,
        "progress": None,
    }
    assert get(client, f"/api/jobs/{str(task_id).upper()}")["id"] == str(task_id)


def test_a_job_has_its_result_with_secrets_masked_and_a_list_leaves_it_out(
    client: FlaskClient, rows: Rows
) -> None:
    task_id = rows.task(state="finished", result='{"receipt": 7, "token": "hunter2"}')
    assert get(client, f"/api/jobs/{task_id}")["result"] == {"receipt": 7, "token": "••••••"}
    assert "result" not in get(client, "/api/jobs")["jobs"][0]


def test_a_job_has_its_steps_the_first_one_first_with_secrets_masked(client: FlaskClient, rows: Rows) -> None:
    task_id = rows.task(state="retried")
    rows.all(
        "INSERT INTO spoils_steps VALUES (:id, 'second', 2, '[1]', 7, '2026-11-24T02:00:01Z'), "
        "(:id, 'first', 1, '{\"token\": \"hunter2\"}', 1500, '2026-11-24T02:00:00Z') RETURNING name",
        id=task_id,
    )
    first, second = get(client, f"/api/jobs/{task_id}")["steps"]
    assert first == {
        "name": "first",
        "attempt": 1,
        "done_at": "2026-11-24T02:00:00Z",
        "ran_ms": 1500,
        "result": {"token": "••••••"},
    }
    assert (second["name"], second["result"]) == ("second", [1])


def test_a_job_has_its_attempts_the_latest_first_without_tracebacks(client: FlaskClient, rows: Rows) -> None:
    task_id, other = rows.task(), rows.task()
    for of, attempt, outcome in ((task_id, 1, "failed"), (task_id, 2, "released"), (other, 1, "failed")):
        said = {"error_class": "ValueError", "message": "boom", "traceback": "Traceback: line 1"}
        rows.attempt(of, attempt, outcome, ran_ms=1500, delay_ms=60000, **said)
    rows.connection.execute(text("UPDATE spoils_attempts SET ended_at = '2026-11-24T02:00:00Z'"))
    log = get(client, f"/api/jobs/{task_id}")["attempt_log"]
    assert [(one["attempt"], one["outcome"]) for one in log] == [(2, "released"), (1, "failed")]
    assert log[1] == {
        "attempt": 1,
        "outcome": "failed",
        "error_class": "ValueError",
        "message": "boom",
        "claimed_at": None,
        "ended_at": "2026-11-24T02:00:00Z",
        "ran_ms": 1500,
        "delay_ms": 60000,
        "worker": None,
        "release": None,
    }


@pytest.mark.parametrize(
    "metadata", [[1, {"password": "hush-hush"}], None, "text", 7, {"type": None}, {}], ids=str
)
def test_metadata_of_any_form_is_shown_with_its_secrets_masked(
    client: FlaskClient, rows: Rows, metadata: object
) -> None:
    task_id = rows.task(metadata="null" if metadata is None else metadata)
    if metadata is None:
        rows.all("UPDATE fang_tasks SET metadata = 'null' RETURNING id")
    shown = get(client, f"/api/jobs/{task_id}")["metadata"]
    assert json.dumps(shown) == json.dumps(metadata).replace('"hush-hush"', json.dumps("••••••"))


def test_infinite_times_can_be_read(client: FlaskClient, rows: Rows) -> None:
    later, never = rows.task(), rows.task()
    rows.all("UPDATE fang_tasks SET scheduled_at = 'infinity' WHERE id = :id RETURNING id", id=never)
    rows.all(
        "UPDATE fang_tasks SET scheduled_at = '9999-12-31 23:59:59+00' WHERE id = :id RETURNING id", id=later
    )
    assert get(client, f"/api/jobs/{later}")["scheduled_at"] == "9999-12-31T23:59:59Z"
    assert get(client, f"/api/jobs/{never}")["state"] == "new"


def test_a_product_has_its_analysis_once_there_is_one(client: FlaskClient, rows: Rows) -> None:
    missing = client.get("/api/products/737628064502", headers=DOOR)
    assert missing.status_code == 404
    assert missing.get_json()["error"] == (
        "Product 0737628064502 has not been fetched. POST it to /api/jobs/fetch-product first."
    )
    product_id = rows.value(
        "INSERT INTO products (barcode, name, brands, nutriscore, nova_group, ingredients_text, allergens, document, "
        "updated_at) VALUES ('0737628064502', 'Noodles', 'Thai Kitchen', 'd', 4, 'RICE, WATER', '[\"en:peanuts\"]', "
        "'{\"code\": \"0737628064502\"}', '2026-11-24T02:00:00Z') RETURNING id"
    )
    product = get(client, "/api/products/737628064502")
    assert product == {
        "id": product_id,
        "barcode": "0737628064502",
        "name": "Noodles",
        "brands": "Thai Kitchen",
        "categories": None,
        "quantity": None,
        "image_url": None,
        "nutriscore": "d",
        "nova_group": 4,
        "ecoscore": None,
        "ingredients_text": "RICE, WATER",
        "allergens": ["en:peanuts"],
        "fetched_at": "2026-11-24T02:00:00Z",
        "analysis": None,
    }
    rows.all(
        "INSERT INTO ingredient_analyses (product_id, source, vegan, vegetarian, palm_oil, analysis, updated_at) "
        "VALUES (:id, 'text', 'yes', 'yes', 'no', '{\"vegan\": \"yes\"}', '2026-11-24T03:00:00Z') RETURNING product_id",
        id=product_id,
    )
    product = get(client, "/api/products/737628064502")
    assert product["analysis"] == {"vegan": "yes", "analysed_at": "2026-11-24T03:00:00Z"}
    for spelling in ("0737628064502", "00737628064502"):
        assert get(client, f"/api/products/{spelling}") == product


def test_the_reasons_why_a_job_waits_are_listed(client: FlaskClient, rows: Rows) -> None:
    task_id = rows.task(due_in=3600)
    answer = get(client, f"/api/jobs/{task_id}/why")
    assert (answer["id"], answer["state"], answer["waits"]) == (str(task_id), "new", True)
    assert [one["kind"] for one in answer["reasons"]] == ["not_due", "no_worker"]
    assert answer["reasons"][0]["due_at"].endswith("Z")
    running = rows.task(state="in_progress")
    answer = get(client, f"/api/jobs/{running}/why")
    assert (answer["waits"], answer["reasons"]) == (False, [])
    assert client.get("/api/jobs/nonsense/why", headers=DOOR).status_code == 404


def test_a_job_has_the_progress_of_its_last_attempt(client: FlaskClient, rows: Rows) -> None:
    task_id = rows.task(state="in_progress", attempts=2)
    rows.all("INSERT INTO spoils_outputs VALUES (:id, 1, 9, 9, '', '[]', now()) RETURNING 1", id=task_id)
    assert get(client, f"/api/jobs/{task_id}")["progress"] is None
    rows.all(
        "INSERT INTO spoils_outputs VALUES (:id, 2, 300, NULL, 'page 3', '[]', now()) RETURNING 1", id=task_id
    )
    assert get(client, f"/api/jobs/{task_id}")["progress"] == {"done": 300, "of": None, "note": "page 3"}
