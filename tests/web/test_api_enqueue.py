"""POST /api/jobs/<name>: the guide's calls answer as the guide shows, and a unique job waits once."""

import hashlib
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from spoils.job import Job, Queue
from tests.classes import throw_away_classes
from tests.rows import Rows
from tests.web.conftest import MakeClient

FETCH = "/api/jobs/fetch-product"
ANALYZE = "/api/jobs/analyze-ingredients"
NOTIFY = "/api/jobs/send-notification"
BARCODE = "737628064502"


@pytest.mark.parametrize(
    ("class_name", "payload", "message"),
    [
        ("FetchProductJob", {"barcode": BARCODE}, "Job enqueued successfully"),
        ("AnalyzeIngredientsJob", {"product_id": 1}, "Analysis job enqueued successfully"),
    ],
)
def test_the_response_is_that_of_the_guide_with_id_state_and_duplicate(
    client: FlaskClient, rows: Rows, class_name: str, payload: dict, message: str
) -> None:
    answer = client.post(FETCH if "barcode" in payload else ANALYZE, json=payload).get_json()
    task = rows.one(UUID(answer.pop("id")))
    assert answer == {**payload, "message": message, "state": "new", "duplicate": False}
    assert (task.state, task.retries, task.attempts) == ("new", 0, 0)
    assert task.metadata == {"type": class_name, **payload}


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
)
def test_the_curl_call_of_the_guide_works_byte_for_byte(client: FlaskClient, content_type: str) -> None:
    response = client.post(FETCH, data=b'{"barcode": "737628064502"}', headers={"Content-Type": content_type})
    assert (response.status_code, response.content_type) == (200, "application/json")


def test_the_spellings_of_one_barcode_are_one_unique_job_and_the_payload_stays_as_given(
    client: FlaskClient, rows: Rows
) -> None:
    spelt = (BARCODE, "0737628064502", "00737628064502")
    answers = [client.post(FETCH, json={"barcode": code}).get_json() for code in spelt]
    assert [answer["duplicate"] for answer in answers] == [False, True, True]
    assert len({answer["id"] for answer in answers}) == 1
    assert rows.all("SELECT metadata->>'barcode' FROM fang_tasks") == [(BARCODE,)]


def test_a_normalised_barcode_has_the_hash_that_fang_gives_it(client: FlaskClient, rows: Rows) -> None:
    answer = client.post(FETCH, json={"barcode": "3017620422003"}).get_json()
    fangs = hashlib.sha256(b'{"barcode":"3017620422003","type":"FetchProductJob"}').hexdigest()
    assert rows.one(UUID(answer["id"])).uniq_hash == fangs


def test_a_running_job_is_the_duplicate_and_an_ended_one_is_not(client: FlaskClient, rows: Rows) -> None:
    first = client.post(FETCH, json={"barcode": BARCODE}).get_json()
    rows.all("UPDATE fang_tasks SET state = 'in_progress' RETURNING id")
    second = client.post(FETCH, json={"barcode": BARCODE}).get_json()
    assert (second["id"], second["duplicate"], second["state"]) == (first["id"], True, "in_progress")
    rows.all("UPDATE fang_tasks SET state = 'finished' RETURNING id")
    third = client.post(FETCH, json={"barcode": BARCODE}).get_json()
    assert third["id"] != first["id"]
    assert (third["duplicate"], third["state"]) == (False, "new")


def test_a_notification_may_be_enqueued_as_often_as_one_likes(client_with: MakeClient, rows: Rows) -> None:
    client = client_with(SPOILS_API_TOKEN="t0ken")
    payload = {"user_id": 123, "notification_type": "email", "message": "Your product scan is ready!"}
    answers = [
        client.post(NOTIFY, json=payload, headers={"Authorization": "Bearer t0ken"}).get_json()
        for _ in range(2)
    ]
    assert [answer["duplicate"] for answer in answers] == [False, False]
    # The answer's own `message` wins over the payload's.
    assert answers[0]["message"] == "Job enqueued successfully"
    assert rows.one(UUID(answers[0]["id"])).metadata == {"type": "SendNotificationJob", **payload}


def test_a_secret_in_a_payload_is_stored_and_neither_echoed_nor_shown(
    client_with: MakeClient, rows: Rows
) -> None:
    client = client_with(SPOILS_API_TOKEN="t0ken")
    door = {"Authorization": "Bearer t0ken"}
    with throw_away_classes():

        class SecretiveJob(Job):
            api_key: str
            name: str

            def run(self, queue: Queue) -> None:
                return None

        given = {"api_key": "hush-hush", "name": "x"}
        response = client.post("/api/jobs/secretive", json=given, headers=door)
    task_id = response.get_json()["id"]
    assert rows.one(UUID(task_id)).metadata["api_key"] == "hush-hush"
    shown = client.get(f"/api/jobs/{task_id}", headers=door)
    for answer in (response, shown):
        assert answer.status_code == 200
        assert "hush-hush" not in answer.get_data(as_text=True)
    assert shown.get_json()["metadata"] == {"type": "SecretiveJob", "api_key": "••••••", "name": "x"}
