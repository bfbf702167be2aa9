"""POST /api/jobs/batch: all or none, with one outcome for each job, in order."""

import json
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from spoils.job import Job, Queue
from spoils.models import LIMITED
from spoils.web.build_job import PAYLOAD_BYTES
from tests.classes import throw_away_classes
from tests.rows import Rows
from tests.web.conftest import MakeClient

DOOR = {"Authorization": "Bearer t0ken"}
BATCH = "/api/jobs/batch"


@pytest.fixture
def client(client_with: MakeClient) -> FlaskClient:
    return client_with(SPOILS_API_TOKEN="t0ken")


def fetch(number: int, **more: object) -> dict:
    return {"type": "FetchProductJob", "payload": {"barcode": f"{number:013d}"}, **more}


def lines(client: FlaskClient, text: str, kind: str = "application/x-ndjson") -> TestResponse:
    return client.post(BATCH, data=text.encode(), content_type=kind, headers=DOOR)


def count(rows: Rows) -> int:
    return rows.value("SELECT count(*) FROM fang_tasks")


def test_each_job_has_its_outcome_in_order_duplicates_within_the_batch_too(
    client: FlaskClient, rows: Rows
) -> None:
    there = UUID(client.post(BATCH, json=[fetch(5)], headers=DOOR).get_json()["jobs"][0]["id"])
    given = [
        fetch(1),
        fetch(2, priority=2, scheduled_at="2099-01-01T00:00:00Z"),
        fetch(1),
        fetch(5),
        fetch(3),
    ]
    response = client.post(BATCH, json=given, headers=DOOR)
    answer = response.get_json()
    assert (response.status_code, answer["enqueued"], answer["duplicates"]) == (200, 3, 2)
    assert [job["duplicate"] for job in answer["jobs"]] == [False, False, True, True, False]
    ids = [UUID(job["id"]) for job in answer["jobs"]]
    assert (ids[2], ids[3]) == (ids[0], there)
    assert [rows.one(ids[at]).metadata["barcode"] for at in (0, 1, 4)] == [
        f"{number:013d}" for number in (1, 2, 3)
    ]
    second = rows.one(ids[1])
    assert (second.priority + LIMITED, second.scheduled_at.year) == (2, 2099)
    assert count(rows) == 4


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl"])
def test_a_batch_may_be_lines_of_json(client: FlaskClient, rows: Rows, kind: str) -> None:
    text = "\n".join(json.dumps(fetch(number)) for number in range(3)) + "\n\n"
    assert len(lines(client, text, kind).get_json()["jobs"]) == 3
    note = {"user_id": 1, "notification_type": "email", "message": "one\u2028line\u0085"}
    odd = json.dumps({"type": "SendNotificationJob", "payload": note}, ensure_ascii=False)
    assert len(lines(client, f"{odd}\r\n", kind).get_json()["jobs"]) == 1
    assert count(rows) == 4


def test_one_invalid_job_refuses_the_batch_and_each_invalid_one_is_listed(
    client: FlaskClient, rows: Rows
) -> None:
    given = [fetch(1), {"type": "NoJob"}, fetch(2), 7, fetch(3, priority=9)]
    response = client.post(BATCH, json=given, headers=DOOR)
    answer = response.get_json()
    assert response.status_code == 422
    assert answer["error"] == "3 jobs are invalid, so none was enqueued."
    assert [error["index"] for error in answer["errors"]] == [1, 3, 4]
    assert count(rows) == 0


def test_a_job_that_only_the_database_refuses_refuses_the_batch(client: FlaskClient, rows: Rows) -> None:
    note = {"user_id": 1, "notification_type": "email", "message": "\0"}
    given = [fetch(1), {"type": "SendNotificationJob", "payload": note}]
    response = client.post(BATCH, json=given, headers=DOOR)
    assert response.status_code == 422
    assert "NUL" in response.get_json()["error"]
    assert count(rows) == 0


def test_ten_thousand_are_one_transaction_and_one_more_is_too_many(client: FlaskClient, rows: Rows) -> None:
    most = [fetch(number) for number in range(10_000)]
    assert client.post(BATCH, json=[*most, fetch(10_000)], headers=DOOR).status_code == 422
    assert count(rows) == 0
    answer = client.post(BATCH, json=most, headers={**DOOR, "Idempotency-Key": "k"}).get_json()
    assert (answer["enqueued"], len({job["id"] for job in answer["jobs"]})) == (10_000, 10_000)
    assert rows.value("SELECT count(DISTINCT xmin::text) FROM fang_tasks") == 1
    again = client.post(BATCH, json=most, headers={**DOOR, "Idempotency-Key": "k"})
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json() == answer
    assert count(rows) == 10_000


def test_a_body_beyond_its_bounds_or_of_another_form_is_refused(client: FlaskClient, rows: Rows) -> None:
    def status(data: bytes, kind: str = "application/json") -> int:
        return client.post(BATCH, data=data, content_type=kind, headers=DOOR).status_code

    assert status(b"[" + b" " * (8 * 1024 * 1024) + b"]") == 413
    assert status(b"[]") == 400
    assert status(b"{}") == 400
    assert status(b"") == 400
    assert status(b"\n\n", "application/x-ndjson") == 400
    assert status(b"[{}]", "text/plain") == 415
    assert status(b"[" * 40 + b"]" * 40) == 400
    broken = lines(client, f"{json.dumps(fetch(1))}\n{{")
    assert (broken.status_code, broken.get_json()["error"][:7]) == (400, "Line 2:")
    assert count(rows) == 0


def test_the_answer_does_not_grow_with_the_number_of_wrong_values(client: FlaskClient, rows: Rows) -> None:
    with throw_away_classes():

        class SumJob(Job):
            """Adds numbers up."""

            numbers: list[int]

            def run(self, queue: Queue) -> None:
                return None

        wrong = {"type": "SumJob", "payload": {"numbers": ["a"] * 1_000}}
        one = client.post("/api/jobs", json=wrong, headers=DOOR)
        many = client.post(BATCH, json=[wrong] * 200, headers=DOOR)
    assert (one.status_code, many.status_code, count(rows)) == (422, 422, 0)
    assert set(one.get_json()["fields"]) == {f"numbers.{index}" for index in range(20)}
    assert many.get_json()["error"] == "200 jobs are invalid, so none was enqueued."
    assert [error["index"] for error in many.get_json()["errors"]] == list(range(100))
    assert len(many.data) < 200_000


def note(message: str) -> dict:
    payload = {"user_id": 1, "notification_type": "email", "message": message}
    return {"type": "SendNotificationJob", "payload": payload}


def test_each_payload_of_a_batch_is_bounded_as_one_by_itself(client: FlaskClient, rows: Rows) -> None:
    with throw_away_classes():

        class LetterJob(Job):
            """Holds a text of any length."""

            text: str

            def run(self, queue: Queue) -> None:
                return None

        def letter(size: int) -> dict:
            # Three bytes for each character, and six where it is escaped.
            return {"type": "LetterJob", "payload": {"text": "\u4e16" * ((size - len('{"text":""}')) // 3)}}

        answer = client.post(BATCH, json=[letter(PAYLOAD_BYTES)], headers=DOOR)
        assert (answer.status_code, count(rows)) == (200, 1)
        given = [fetch(1), letter(PAYLOAD_BYTES + 3)]
        answer = client.post(BATCH, json=given, headers=DOOR)
    assert answer.status_code == 422
    (error,) = answer.get_json()["errors"]
    assert error["index"] == 1
    assert "at most 65,536 are allowed" in error["error"]
    assert count(rows) == 1


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_a_batch_of_too_many_values_is_refused_and_its_parts_are_taken(
    client: FlaskClient, rows: Rows, kind: str
) -> None:
    def post(jobs: list[dict]) -> TestResponse:
        text = json.dumps(jobs) if kind == "application/json" else "\n".join(map(json.dumps, jobs))
        return client.post(BATCH, data=text, content_type=kind, headers=DOOR)

    jobs = [note(",[]{}\n" * 1_000) for _ in range(200)]
    refused = post(jobs)
    assert refused.status_code == 413
    assert "Send fewer jobs at a time." in refused.get_json()["error"]
    assert count(rows) == 0
    for half in (jobs[:100], jobs[100:]):
        assert post(half).status_code == 200
    assert count(rows) == 200


def test_too_many_lines_are_refused_without_reading_the_rest(client: FlaskClient, rows: Rows) -> None:
    answer = lines(client, "1\n" * 10_001 + "{")
    assert answer.status_code == 422
    assert answer.get_json()["error"] == "1 to 10,000 jobs are allowed in a batch; this one has more."
    assert count(rows) == 0


@pytest.mark.parametrize(
    "headers", [DOOR, {**DOOR, "Idempotency-Key": "a-batch"}], ids=["plain", "with a key"]
)
def test_a_batch_that_the_server_rolled_back_for_another_transaction_is_tried_again(
    client: FlaskClient, rows: Rows, headers: dict[str, str]
) -> None:
    # A sequence counts the inserts that failed, too.
    rows.connection.exec_driver_sql(
        """
        CREATE SEQUENCE undone;
        CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('undone') <= 2 THEN
                RAISE EXCEPTION 'injected' USING ERRCODE = '40001';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER undo BEFORE INSERT ON fang_tasks FOR EACH ROW EXECUTE FUNCTION undo();
        """
    )
    try:
        response = client.post(BATCH, json=[fetch(1), fetch(2)], headers=headers)
        assert (response.status_code, response.get_json()["enqueued"], count(rows)) == (200, 2, 2)
    finally:  # the tests of a file share their database
        rows.connection.exec_driver_sql("DROP FUNCTION undo CASCADE; DROP SEQUENCE undone")
