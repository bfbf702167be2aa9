"""Idempotency-Key: a repeated request changes nothing and gets the first response."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from spoils.models import db
from spoils.queue import idempotency, prune
from tests.rows import Rows
from tests.support import eventually
from tests.web.conftest import MakeClient

TOKENS = {"SPOILS_API_TOKEN": "shop:t0ken,other:t0ken2"}
JOBS = "/api/jobs"
NOTE = {
    "type": "SendNotificationJob",
    "payload": {"user_id": 1, "notification_type": "email", "message": "hi"},
}


@pytest.fixture
def app(client_with: MakeClient) -> Flask:
    return client_with(**TOKENS).application


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def send(
    client: FlaskClient,
    key: str = "k1",
    path: str = JOBS,
    token: str = "t0ken",
    method: str = "POST",
    **given,
) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    return client.open(path, method=method, headers=headers, **given)


def count(rows: Rows) -> int:
    return rows.value("SELECT count(*) FROM fang_tasks")


def test_the_same_key_and_body_get_the_first_answer_again_and_one_row(
    client: FlaskClient, rows: Rows
) -> None:
    first, second = (send(client, json=NOTE) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.data == first.data
    assert second.headers["Location"] == first.headers["Location"]
    assert ("Idempotent-Replayed" in first.headers, second.headers["Idempotent-Replayed"]) == (False, "true")
    assert count(rows) == 1


def test_the_guide_s_endpoints_honour_it_too_also_after_the_job_has_ended(
    client: FlaskClient, rows: Rows
) -> None:
    first = send(client, path=f"{JOBS}/fetch-product", json={"barcode": "737628064502"})
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'finished'"))
    second = send(client, path=f"{JOBS}/fetch-product", json={"barcode": "737628064502"})
    assert (first.status_code, second.get_json()) == (200, first.get_json())
    assert count(rows) == 1


@pytest.mark.parametrize(("path", "given"), [(JOBS, {**NOTE, "priority": 1}), (f"{JOBS}/cleanup", {})])
def test_the_same_key_with_another_request_is_refused(
    client: FlaskClient, rows: Rows, path: str, given: dict
) -> None:
    assert send(client, json=NOTE).status_code == 200
    response = send(client, path=path, json=given)
    assert response.status_code == 422
    assert "another request" in response.get_json()["error"]
    assert count(rows) == 1


def test_each_token_has_its_own_keys(client: FlaskClient, rows: Rows) -> None:
    ids = {send(client, token=token, json=NOTE).get_json()["id"] for token in ("t0ken", "t0ken2")}
    assert len(ids) == count(rows) == 2


def test_a_refused_request_may_be_corrected_and_sent_with_the_same_key(
    client: FlaskClient, rows: Rows
) -> None:
    assert send(client, json={**NOTE, "priority": 9}).status_code == 422
    assert send(client, json=NOTE).status_code == 200
    task_id = rows.task(state="new")
    path = f"{JOBS}/{task_id}/retry"
    assert send(client, "k2", path).status_code == 409
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'failed' WHERE id = :id"), {"id": task_id})
    assert send(client, "k2", path).status_code == 200


def test_an_action_is_done_once(client: FlaskClient, rows: Rows) -> None:
    task_id = rows.task(state="failed")
    path = f"{JOBS}/{task_id}/retry"
    first = send(client, path=path)
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'failed'"))
    assert send(client, path=path).get_json() == first.get_json()
    assert rows.state(task_id) == "failed"
    assert send(client, "gone", f"{JOBS}/{task_id}", method="DELETE").status_code == 200
    assert send(client, "gone", f"{JOBS}/{task_id}", method="DELETE").status_code == 200
    assert count(rows) == 0


def test_twenty_at_once_have_one_effect_and_one_answer(app: Flask, rows: Rows) -> None:
    ready = threading.Barrier(20)

    def post() -> tuple[int, bytes]:
        client = app.test_client()
        ready.wait()
        response = send(client, json=NOTE)
        return response.status_code, response.data

    with ThreadPoolExecutor(20) as pool:
        answers = {one.result() for one in [pool.submit(post) for _ in range(20)]}
    assert len(answers) == count(rows) == 1


def test_a_request_waits_for_one_of_the_same_key_and_acts_if_that_one_fails(
    app: Flask, rows: Rows, engine: Engine
) -> None:
    # The key as the request below has it, taken by a transaction that is still open.
    send(app.test_client(), json=NOTE)
    (key, request), *_ = rows.all("SELECT key, request FROM spoils_idempotency_keys")
    rows.all("DELETE FROM spoils_idempotency_keys RETURNING key")
    rows.all("DELETE FROM fang_tasks RETURNING id")
    with app.app_context():
        first = db.engine.connect()
    with first, ThreadPoolExecutor(1) as pool:
        assert idempotency.take(first, key, request) is None
        asked = pool.submit(send, app.test_client(), json=NOTE)
        eventually(lambda: _blocked(rows))
        first.rollback()
        assert asked.result().status_code == 200
    assert count(rows) == 1


def test_a_key_is_kept_for_a_day_and_then_pruned(client: FlaskClient, rows: Rows) -> None:
    send(client, json=NOTE)
    age = text("UPDATE spoils_idempotency_keys SET created_at = now() - CAST(:age AS interval)")
    rows.connection.execute(age, {"age": "23 hours 50 minutes"})
    assert prune.prune_keys(rows.connection, days=1) == 0
    assert send(client, json={**NOTE, "priority": 1}).status_code == 422
    rows.connection.execute(age, {"age": "24 hours 10 minutes"})
    assert send(client, json={**NOTE, "priority": 1}).status_code == 200
    assert count(rows) == 2
    rows.connection.execute(age, {"age": "24 hours 10 minutes"})
    assert prune.prune_keys(rows.connection, days=1) == 1


@pytest.mark.parametrize("key", ["k1", ""])
def test_without_a_token_a_key_is_refused_with_what_to_set_and_no_row_is_kept(
    client_with: MakeClient, rows: Rows, key: str
) -> None:
    open_to_all = client_with()
    for headers in ({}, {"Authorization": "Bearer t0ken"}):
        response = open_to_all.post(
            f"{JOBS}/fetch-product",
            json={"barcode": "737628064502"},
            headers={**headers, "Idempotency-Key": key},
        )
        assert response.status_code == 400
        assert "set SPOILS_API_TOKEN" in response.get_json()["error"]
    assert count(rows) == rows.value("SELECT count(*) FROM spoils_idempotency_keys") == 0


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "a b", "schlüssel"])
def test_an_invalid_key_is_refused(client: FlaskClient, rows: Rows, key: str) -> None:
    assert send(client, key, json=NOTE).status_code == 400
    assert count(rows) == 0


def _blocked(rows: Rows) -> None:
    assert rows.value(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name = 'spoils:web'"
    )
