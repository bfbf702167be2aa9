"""GET /api/jobs/<id>?wait=…: it answers when the job has ended, and keeps neither connections nor places."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from spoils.web.api import long_polling
from spoils.web.api.bounds import WAITERS
from tests.rows import Rows
from tests.support import eventually
from tests.web.conftest import MakeClient

DOOR = {"Authorization": "Bearer t0ken"}


@pytest.fixture
def app(client_with: MakeClient) -> Flask:
    return client_with(SPOILS_API_TOKEN="t0ken").application


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(WAITERS) as pool:
        yield pool


def end(rows: Rows, task_id: UUID, state: str = "finished") -> None:
    rows.connection.execute(
        text("UPDATE fang_tasks SET state = CAST(:state AS fang_task_state) WHERE id = :id"),
        {"id": task_id, "state": state},
    )


def ask(app: Flask, task_id: UUID) -> TestResponse:
    return app.test_client().get(f"/api/jobs/{task_id}?wait=20", headers=DOOR)


def idle_web_connections(rows: Rows) -> tuple[int, int]:
    """How many connections of the web there are, and how many of them do nothing and hold nothing."""
    (found,) = rows.all(
        "SELECT count(*), count(*) FILTER (WHERE state = 'idle') FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'spoils:web'"
    )
    return found


@pytest.mark.parametrize("state", ["finished", "failed"])
def test_it_answers_at_once_where_the_job_has_ended(client: FlaskClient, rows: Rows, state: str) -> None:
    answer = client.get(f"/api/jobs/{rows.task(state=state)}?wait=20", headers=DOOR).get_json()
    assert answer["state"] == state


def test_it_answers_when_the_job_ends(app: Flask, rows: Rows, pool: ThreadPoolExecutor) -> None:
    task_id = rows.task(state="in_progress", claimed_by=uuid4())
    asked = pool.submit(ask, app, task_id)
    eventually(lambda: _waits(asked))
    end(rows, task_id)
    assert asked.result().get_json()["state"] == "finished"


def test_it_answers_with_the_job_as_it_is_when_the_time_is_over(client: FlaskClient, rows: Rows) -> None:
    answer = client.get(f"/api/jobs/{rows.task()}?wait=1", headers=DOOR)
    assert (answer.status_code, answer.get_json()["state"]) == (200, "new")
    assert "Retry-After" not in answer.headers


def test_a_job_that_is_deleted_meanwhile_is_not_found(
    app: Flask, rows: Rows, pool: ThreadPoolExecutor
) -> None:
    task_id = rows.task()
    asked = pool.submit(ask, app, task_id)
    eventually(lambda: _waits(asked))
    rows.all("DELETE FROM fang_tasks WHERE id = :id RETURNING id", id=task_id)
    assert asked.result().status_code == 404


def test_waiting_requests_hold_no_connection_and_one_more_is_answered_at_once(
    app: Flask, rows: Rows, pool: ThreadPoolExecutor
) -> None:
    task_id = rows.task()
    asked = [pool.submit(ask, app, task_id) for _ in range(WAITERS)]
    eventually(lambda: [_waits(one) for one in asked])
    eventually(_full)

    def holds_none() -> None:
        number, idle = idle_web_connections(rows)
        assert number == idle

    eventually(holds_none)
    beyond = ask(app, task_id)
    assert (beyond.status_code, beyond.get_json()["state"], beyond.headers["Retry-After"]) == (
        200,
        "new",
        "1",
    )
    assert not any(one.done() for one in asked)
    end(rows, task_id, "failed")
    assert {one.result().get_json()["state"] for one in asked} == {"failed"}
    # Every place is free again.
    taken = [long_polling._places.acquire(blocking=False) for _ in range(WAITERS)]
    for _ in taken:
        long_polling._places.release()
    assert all(taken)


@pytest.mark.parametrize("wait", ["21", "-1", "x", "1.5", "", "1&wait=2"])
def test_a_time_out_of_bounds_is_refused(client: FlaskClient, rows: Rows, wait: str) -> None:
    response = client.get(f"/api/jobs/{rows.task()}?wait={wait}", headers=DOOR)
    assert response.status_code == 400


def test_an_unchanged_job_is_answered_with_304(client: FlaskClient, rows: Rows) -> None:
    task_id = rows.task()
    first = client.get(f"/api/jobs/{task_id}", headers=DOOR)
    tag = {"If-None-Match": first.headers["ETag"]}
    again = client.get(f"/api/jobs/{task_id}", headers={**DOOR, **tag})
    assert (again.status_code, again.data) == (304, b"")
    end(rows, task_id)
    assert client.get(f"/api/jobs/{task_id}", headers={**DOOR, **tag}).status_code == 200


def _waits(asked: Future[TestResponse]) -> None:
    assert asked.running()
    assert any(thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate())


def _full() -> None:
    if long_polling._places.acquire(blocking=False):
        long_polling._places.release()
        raise AssertionError("there is a place left")
