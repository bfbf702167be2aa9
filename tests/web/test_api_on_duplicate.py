"""`on_duplicate` of the API: what becomes of an equal unique job that waits."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from spoils.job import Job, Queue, Unique
from tests.classes import throw_away_classes
from tests.rows import Rows
from tests.web.conftest import MakeClient

LATER = "2099-11-24T02:00:00Z"


@pytest.fixture
def client(client_with: MakeClient) -> Iterator[FlaskClient]:
    with throw_away_classes():

        class IndexJob(Job):
            product_id: int
            title: str
            uniq = Unique("product_id", while_="waiting")

            def run(self, queue: Queue) -> None: ...

        yield client_with(SPOILS_API_TOKEN="t0ken")


def post(client: FlaskClient, path: str, given: object, **headers: str) -> tuple[int, Any]:
    response = client.post(path, json=given, headers={"Authorization": "Bearer t0ken", **headers})
    return response.status_code, response.get_json()


def request(title: str, **options: object) -> dict[str, object]:
    return {"type": "IndexJob", "payload": {"product_id": 7, "title": title}, **options}


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k1"}], ids=["plain", "idempotent"])
@pytest.mark.parametrize(
    ("on_duplicate", "title"), [("skip", "Tea"), ("replace", "Green tea"), ("reschedule", "Green tea")]
)
def test_one_job_and_a_batch_of_them_take_it(
    client: FlaskClient, rows: Rows, on_duplicate: str, title: str, headers: dict[str, str]
) -> None:
    _, first = post(client, "/api/jobs", request("Tea"))
    again = request("Green tea", scheduled_at=LATER, on_duplicate=on_duplicate)
    status, answer = post(client, "/api/jobs", again, **headers)
    assert (status, answer["id"], answer["duplicate"]) == (200, first["id"], True)
    row = rows.one(UUID(first["id"]))
    assert (row.metadata["title"], row.scheduled_at.year == 2099) == (title, on_duplicate == "reschedule")
    status, answer = post(
        client, "/api/jobs/batch", [{**again, "payload": {"product_id": 7, "title": "Black tea"}}]
    )
    assert (status, answer["jobs"][0]["id"]) == (200, first["id"])
    assert rows.one(UUID(first["id"])).metadata["title"] == ("Tea" if on_duplicate == "skip" else "Black tea")


def test_what_it_cannot_be_is_a_sentence(client: FlaskClient) -> None:
    status, answer = post(client, "/api/jobs", request("Tea", on_duplicate="ignore"))
    assert (status, "on_duplicate" in answer["fields"]) == (422, True)
    cleanup = {"type": "CleanupJob", "on_duplicate": "replace"}
    status, answer = post(client, "/api/jobs", cleanup)
    assert status == 422
    assert 'set uniq = Unique(…, while_="waiting") on CleanupJob.' in answer["error"]
    status, answer = post(client, "/api/jobs/batch", [cleanup])
    assert (status, "on CleanupJob." in answer["error"]) == (422, True)


def test_the_document_names_its_values(client: FlaskClient) -> None:
    document = client.get("/openapi.json", headers={"Authorization": "Bearer t0ken"}).get_json()
    field = document["components"]["schemas"]["JobRequest"]["properties"]["on_duplicate"]
    assert field["enum"] == ["skip", "replace", "reschedule"]
    assert "unique while it waits" in field["description"]
