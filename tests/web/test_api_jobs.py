"""The API beside the guide's endpoints: any job by name, lists, actions on one job, and figures."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient

from spoils.job import Job, Queue
from tests.classes import throw_away_classes
from tests.rows import Rows
from tests.web.conftest import MakeClient

DOOR = {"Authorization": "Bearer t0ken"}
JOBS = "/api/jobs"
NOTE = {"user_id": 1, "notification_type": "email", "message": "hello"}
STATES = ("new", "in_progress", "retried", "failed", "finished")


@pytest.fixture
def client(client_with: MakeClient) -> FlaskClient:
    return client_with(SPOILS_API_TOKEN="t0ken")


def post(client: FlaskClient, path: str, status: int, **given: object) -> dict:
    response = client.post(path, json=given, headers=DOOR)
    assert response.status_code == status, response.get_data(as_text=True)
    return response.get_json()


def get(client: FlaskClient, path: str, status: int = 200) -> dict:
    response = client.get(path, headers=DOOR)
    assert response.status_code == status, response.get_data(as_text=True)
    return response.get_json()


@pytest.mark.parametrize("name", ["SendNotificationJob", "send-notification", "send_notification"])
def test_a_job_is_enqueued_by_path_or_by_body_under_the_name_of_its_class_its_endpoint_or_its_type(
    client: FlaskClient, rows: Rows, name: str
) -> None:
    by_path = client.post(f"{JOBS}/{name}", json=NOTE, headers=DOOR)
    by_body = client.post(JOBS, json={"type": name, "payload": NOTE}, headers=DOOR)
    for response in (by_path, by_body):
        answer = response.get_json()
        assert (response.status_code, answer["state"], answer["duplicate"]) == (200, "new", False)
        assert response.headers["Location"] == f"{JOBS}/{answer['id']}"
        row = rows.one(UUID(answer["id"]))
        assert row.metadata == {"type": "SendNotificationJob", **NOTE}
        assert (row.priority, row.scheduled_at <= datetime.now(UTC)) == (0, True)
    outcome = {key: answer[key] for key in ("id", "state", "duplicate")}
    message = "Job enqueued successfully"
    assert answer == {**outcome, "type": "SendNotificationJob", "payload": NOTE, "message": message}


def test_an_ambiguous_type_and_an_internal_class_are_refused_by_path_and_by_body(
    client: FlaskClient,
) -> None:
    with throw_away_classes():

        class OneJob(Job):
            task_type = "shared_type"
            endpoint = "one"

            def run(self, queue: Queue) -> None:
                return None

        class OtherJob(OneJob):
            endpoint = "other"

        several = '"shared_type" is the task type of several classes: OneJob, OtherJob. Name one of them.'
        assert post(client, f"{JOBS}/shared_type", 404)["error"] == several
        assert post(client, JOBS, 422, type="shared_type")["fields"]["type"] == several
        for name in ("one", "OneJob"):
            assert post(client, f"{JOBS}/{name}", 200)["state"] == post(client, JOBS, 200, type=name)["state"]
    for own in ("BulkJob", "bulk", "gone"):
        assert post(client, f"{JOBS}/{own}", 404)["error"].startswith(f'Unknown job class "{own}".')
        assert post(client, JOBS, 422, type=own)["error"].endswith(
            post(client, f"{JOBS}/{own}", 404)["error"]
        )


def test_a_job_has_its_time_and_its_priority(client: FlaskClient, rows: Rows) -> None:
    at = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
    given = {"type": "CleanupJob", "scheduled_at": "2099-01-02T05:04:05+02:00", "priority": 2}
    row = rows.one(UUID(post(client, JOBS, 200, **given)["id"]))
    assert (row.scheduled_at, row.priority) == (at, 2)
    other = {"type": "SendNotificationJob", "payload": {**NOTE, "message": "later"}}
    odd = post(client, JOBS, 200, **other, scheduled_at="2099-01-03T03:03:05+23:59")
    assert rows.one(UUID(odd["id"])).scheduled_at == at
    past = post(
        client, JOBS, 200, type="SendNotificationJob", payload=NOTE, scheduled_at="0001-01-01T00:00:00Z"
    )
    assert datetime.now(UTC) - rows.one(UUID(past["id"])).scheduled_at < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "type"),
        ({"type": 1}, "type"),
        ({"type": ""}, "type"),
        ({"type": "NoJob"}, "type"),
        ({"type": "x" * 201}, "type"),
        ({"type": "CleanupJob", "payload": []}, "payload"),
        ({"type": "CleanupJob", "payload": None}, "payload"),
        ({"type": "CleanupJob", "typo": 1}, "typo"),
        ({"type": "CleanupJob", "payload": {"typo": 1}}, "typo"),
        ({"type": "FetchProductJob", "payload": {"barcode": "../1"}}, "barcode"),
        ({"type": "CleanupJob", "priority": 3}, "priority"),
        ({"type": "CleanupJob", "priority": 2**70}, "priority"),
        ({"type": "CleanupJob", "priority": True}, "priority"),
        ({"type": "CleanupJob", "priority": "1"}, "priority"),
        ({"type": "CleanupJob", "scheduled_at": "2099-01-01T00:00:00"}, "scheduled_at"),
        ({"type": "CleanupJob", "scheduled_at": "2099-01-01"}, "scheduled_at"),
        ({"type": "CleanupJob", "scheduled_at": 4070908800}, "scheduled_at"),
        ({"type": "CleanupJob", "scheduled_at": "4070908800"}, "scheduled_at"),
        ({"type": "CleanupJob", "scheduled_at": "2099-13-01T00:00:00Z"}, "scheduled_at"),
        ({"type": "CleanupJob", "scheduled_at": "9999-12-31T23:59:59-23:59"}, "scheduled_at"),
    ],
)
def test_an_invalid_request_is_refused_by_field_and_enqueues_nothing(
    client: FlaskClient, rows: Rows, given: dict, field: str
) -> None:
    answer = post(client, JOBS, 422, **given)
    assert answer["error"].endswith(".")
    assert list(answer["fields"]) == [field]
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


def test_the_list_goes_both_ways_without_leaving_a_job_out(client: FlaskClient, rows: Rows) -> None:
    moment = "2026-01-01T00:00:00Z"
    for number in range(7):
        rows.task(state="finished", updated_at=moment if number < 3 else f"2026-01-0{number}T00:00:00Z")
    seen: list[str] = []
    path = f"{JOBS}?limit=3"
    pages = []
    while True:
        page = get(client, path)
        pages.append(page)
        seen += [job["id"] for job in page["jobs"]]
        if page["older"] is None:
            break
        path = f"{JOBS}?limit=3&older={page['older']}"
    assert len(seen) == len(set(seen)) == 7
    assert [len(page["jobs"]) for page in pages] == [3, 3, 1]
    back = get(client, f"{JOBS}?limit=3&newer={pages[1]['newer']}")
    assert [job["id"] for job in back["jobs"]] == seen[:3]


def test_the_list_is_bounded_whatever_its_rows_hold(client: FlaskClient, rows: Rows) -> None:
    for _ in range(20):
        task_id = rows.task(
            state="failed", error_message="e" * 2_000_000, metadata={"type": "X", "x": "y" * 3_000_000}
        )
    response = client.get(f"{JOBS}?state=failed&limit=20", headers=DOOR)
    assert len(response.get_data()) < 20 * 20_000
    assert get(client, f"{JOBS}/{task_id}")["metadata"]["x"] == "y" * 3_000_000


def test_the_list_is_filtered_by_state_and_type(client: FlaskClient, rows: Rows) -> None:
    jobs = {state: rows.task(state=state, task_type=f"type {state}") for state in STATES}
    for state, task_id in jobs.items():
        assert [job["id"] for job in get(client, f"{JOBS}?state={state}")["jobs"]] == [str(task_id)]
        found = get(client, f"{JOBS}?type=type%20{state}")["jobs"]
        assert [(job["id"], job["state"]) for job in found] == [(str(task_id), state)]
    assert get(client, f"{JOBS}?state=new&type=type%20failed") == {"jobs": [], "older": None, "newer": None}
    assert len(get(client, JOBS)["jobs"]) == 5


@pytest.mark.parametrize(
    "query",
    [
        "state=gone", "state=", "type=", "type=%00", "type=" + "x" * 256, "limit=0", "limit=201", "limit=-1",
        "limit=x", "limit=%D9%A3", "limit=1e2", "limit=99999999999999999999", "older=x", "newer=%ff", "page=2",
        "older=MjAyNi0wMS0wMVQwMDowMDowMHx4", "limit=1&limit=2",
    ],
)  # fmt: skip
def test_an_unknown_or_invalid_argument_is_refused(client: FlaskClient, query: str) -> None:
    assert get(client, f"{JOBS}?{query}", 400)["error"].endswith(".")


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("retry", "failed", "new"), ("run-now", "retried", "retried"), ("run-now", "new", "new"),
        ("cancel", "new", "failed"), ("cancel", "retried", "failed"), ("cancel", "in_progress", "in_progress"),
    ],
)  # fmt: skip
def test_an_action_changes_the_job_and_returns_its_state(
    client: FlaskClient, rows: Rows, action: str, before: str, after: str
) -> None:
    task_id = rows.task(state=before, due_in=3600, claimed_by=uuid4() if before == "in_progress" else None)
    answer = post(client, f"{JOBS}/{task_id}/{action}", 200)
    assert (answer["id"], answer["state"]) == (str(task_id), after)
    assert "1" in answer["message"]
    row = rows.one(task_id)
    assert row.state == after
    assert (row.cancel_requested_at is not None) == (before == "in_progress")
    if action in ("retry", "run-now"):
        assert row.scheduled_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("action", "state"),
    [
        ("retry", "new"), ("retry", "in_progress"), ("retry", "finished"),
        ("run-now", "failed"), ("cancel", "failed"), ("cancel", "finished"),
    ],
)  # fmt: skip
def test_an_action_that_the_state_does_not_allow_is_refused_with_the_state(
    client: FlaskClient, rows: Rows, action: str, state: str
) -> None:
    task_id = rows.task(state=state)
    before = rows.one(task_id)
    answer = post(client, f"{JOBS}/{task_id}/{action}", 409)
    assert answer["error"].startswith("Refused: ")
    assert (answer["state"], answer["twin"]) == (state, None)
    assert rows.one(task_id) == before


def test_a_retry_that_a_duplicate_prevents_names_it(client: FlaskClient, rows: Rows) -> None:
    failed = rows.task(state="failed", uniq_hash="a" * 64)
    twin = rows.task(uniq_hash="a" * 64)
    assert post(client, f"{JOBS}/{failed}/retry", 409)["twin"] == str(twin)
    assert rows.state(failed) == "failed"


def test_a_job_is_deleted_once_and_not_while_it_runs(client: FlaskClient, rows: Rows) -> None:
    task_id, running = rows.task(state="finished"), rows.task(state="in_progress", claimed_by=uuid4())
    path = f"{JOBS}/{task_id}"
    assert client.delete(path, headers=DOOR).get_json() == {
        "id": str(task_id),
        "state": None,
        "message": "Deleted 1 job.",
    }
    assert client.delete(path, headers=DOOR).status_code == 404
    assert client.delete(f"{JOBS}/{running}", headers=DOOR).status_code == 409
    assert rows.all("SELECT id FROM fang_tasks") == [(running,)]


def test_an_action_takes_no_form_and_no_payload(client: FlaskClient, rows: Rows) -> None:
    task_id = rows.task(state="failed")
    path = f"{JOBS}/{task_id}/retry"
    assert client.post(path, data={"a": "b"}, headers=DOOR).status_code == 415
    assert client.post(path, data="x", content_type="text/plain", headers=DOOR).status_code == 415
    assert client.post(path, json={"force": True}, headers=DOOR).status_code == 422
    assert client.delete(f"{JOBS}/{task_id}", data={"a": "b"}, headers=DOOR).status_code == 415
    assert rows.state(task_id) == "failed"
    assert client.post(path, headers=DOOR).status_code == 200


def test_figures_count_waiting_jobs_and_the_outcomes_of_attempts(client: FlaskClient, rows: Rows) -> None:
    rows.task(task_type="mail", due_in=-100)
    rows.task(task_type="mail", state="in_progress", claimed_by=uuid4())
    for outcome, bucket, count, ran_ms, ago in (
        ("finished", 0, 98, 0, 0),
        ("failed", 41, 2, 2_400, 0),
        ("finished", 60, 5, 9_999_999, 90),
    ):
        rows.all(
            "INSERT INTO spoils_minutes (minute, task_type, outcome, bucket, count, ran_ms) VALUES "
            "(date_trunc('minute', now() - make_interval(mins => :ago)), 'mail', :outcome, :bucket, :count, :ran_ms) "
            "RETURNING id",
            outcome=outcome, bucket=bucket, count=count, ran_ms=ran_ms, ago=ago,
        )  # fmt: skip
    answer = get(client, f"{JOBS}/stats")
    mail = answer["types"].pop("mail")
    assert (answer.pop("minutes"), answer.pop("types")) == (60, {})
    seen, oldest = (datetime.fromisoformat(text) for text in (answer["at"], mail.pop("oldest_due_at")))
    assert timedelta(seconds=99) < seen - oldest < timedelta(minutes=5)
    outcomes = mail.pop("outcomes")
    assert {name: count for name, count in outcomes.items() if count} == {"finished": 98, "failed": 2}
    assert mail == {
        "waiting": 1,
        "running": 1,
        "growth_per_second": None,
        "clears_in_seconds": None,
        "average_ms": 24.0,
        "p50_ms": 0.5,
        "p95_ms": 0.5,
        "p99_ms": 1116.7,
        "waited_p50_ms": None,
        "waited_p95_ms": None,
    }
    longer = get(client, f"{JOBS}/stats?minutes=180")["types"]["mail"]
    assert longer["outcomes"]["finished"] == 103
    assert get(client, f"{JOBS}/stats?minutes=1441", 400)
