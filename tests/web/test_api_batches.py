"""`GET /api/batches/<id>`."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection

from spoils.queue.batches import new_batch, new_chain, put_batch
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.web.conftest import MakeClient

DOOR = {"Authorization": "Bearer t0ken"}


@pytest.fixture
def client(client_with: MakeClient) -> FlaskClient:
    return client_with(SPOILS_API_TOKEN="t0ken")


def get(client: FlaskClient, batch_id: UUID, status: int = 200) -> dict[str, Any]:
    response = client.get(f"/api/batches/{batch_id}", headers=DOOR)
    assert response.status_code == status
    answer: dict[str, Any] = response.get_json()
    return answer


def test_a_batch_is_answered_with_its_counts_and_what_it_enqueued(
    client: FlaskClient, connection: Connection, rows: Rows
) -> None:
    batch = new_batch(then=SampleJob(), name="night import, password=hunter2", on="success")
    batch.enqueue(SampleJob())
    put_batch(connection, batch)
    answer = get(client, batch.id)
    member = client.get(f"/api/jobs/{rows.value('SELECT id FROM fang_tasks')}", headers=DOOR).get_json()
    assert member["batch_id"] == str(batch.id)
    created_at = answer.pop("created_at")
    assert created_at.endswith("Z")
    assert "hunter2" not in answer.pop("name")
    assert answer == {
        "id": str(batch.id),
        "kind": "batch",
        "condition": "success",
        "ended_at": None,
        "counts": {"total": 1, "active": 1, "finished": 0, "failed": 0, "cancelled": 0},
        "links_to_come": 0,
        "enqueued_id": None,
    }
    rows.all("UPDATE fang_tasks SET state = 'finished' RETURNING 1")
    answer = get(client, batch.id)
    assert answer["ended_at"] is not None
    assert answer["enqueued_id"] == str(rows.value("SELECT id FROM fang_tasks WHERE previous IS NOT NULL"))


def test_a_chain_is_answered_with_its_latest_link(
    client: FlaskClient, connection: Connection, rows: Rows
) -> None:
    chain = new_chain([SampleJob(number=number) for number in range(3)], name=None, at=None, priority=0)
    put_batch(connection, chain)
    rows.all("UPDATE fang_tasks SET state = 'finished' RETURNING 1")
    answer = get(client, chain.id)
    assert (answer["kind"], answer["links_to_come"], answer["counts"]["active"]) == ("chain", 1, 1)
    assert answer["enqueued_id"] == str(rows.value("SELECT id FROM fang_tasks WHERE state = 'new'"))


def test_an_unknown_batch_is_404(client: FlaskClient) -> None:
    unknown = uuid4()
    assert str(unknown) in get(client, unknown, 404)["error"]
