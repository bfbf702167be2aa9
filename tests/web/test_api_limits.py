"""The limits of clients without a token, which a token lifts."""

import logging

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection
from werkzeug.test import TestResponse

from spoils.config import Settings
from spoils.web import create_app
from spoils.web.api.limits import Depth
from spoils.web.hit_counter import RateLimit
from tests.rows import Rows
from tests.support import eventually
from tests.web.conftest import MakeClient

FETCH = "/api/jobs/fetch-product"
STATUS = "/api/jobs/status"
DOOR = {"Authorization": "Bearer t0ken"}


DAY = 24 * 3600


@pytest.fixture
def client(client: FlaskClient) -> FlaskClient:
    """A client whose application allows one request a day."""
    client.application.extensions["spoils_rate_limit"] = RateLimit(1, DAY)
    return client


def ask(
    client: FlaskClient, address: str = "203.0.113.1", path: str = STATUS, **headers: str
) -> TestResponse:
    return client.get(path, headers=headers, environ_base={"REMOTE_ADDR": address})


def test_a_client_over_its_limit_has_to_wait_until_the_window_has_moved() -> None:
    limit = RateLimit(3, 1)

    def exceeded() -> None:
        assert [limit.hit("a") for _ in range(4)] == [True, True, True, False]
        assert limit.exceeded("a")

    eventually(exceeded)  # a window may have ended in between
    assert limit.hit("b")
    assert 1 <= limit.retry_after("a") <= 2
    eventually(lambda: limit.hit("a") or pytest.fail("not yet"))


def test_the_number_of_clients_that_are_counted_is_bounded() -> None:
    limit = RateLimit(1, DAY, clients=100)
    for number in range(1_000):
        assert limit.hit(f"client {number}")
        assert len(limit._storage.storage) <= 100
    assert limit.exceeded("client 999")


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("203.0.113.1", "203.0.113.1", "203.0.113.2"),
        # One client of IPv6 has a network of 64 bits.
        ("2001:db8:1:2::1", "2001:db8:1:2:3::4", "2001:db8:1:3::4"),
    ],
)
def test_a_client_over_its_rate_gets_429_with_retry_after_and_other_clients_are_served(
    client: FlaskClient, first: str, same: str, other: str
) -> None:
    assert ask(client, first).status_code == 200
    response = ask(client, same)
    assert response.status_code == 429
    assert response.get_json()["error"].startswith("Too many requests from your address")
    assert 1 <= int(response.headers["Retry-After"]) <= DAY
    assert ask(client, other).status_code == 200
    assert ask(client, same, "/health").status_code == 200


def test_a_token_has_no_rate_limit_and_a_wrong_one_has(client_with: MakeClient) -> None:
    client = client_with(SPOILS_API_TOKEN="t0ken")
    client.application.extensions["spoils_rate_limit"] = RateLimit(1, DAY)
    statuses = [
        ask(client, **headers).status_code for headers in (DOOR, DOOR, {}, {"Authorization": "Bearer no"})
    ]
    assert statuses == [200, 200, 401, 429]


def test_a_full_queue_takes_no_more_jobs_without_a_token(client_with: MakeClient, rows: Rows) -> None:
    rows.task(state="new")
    rows.task(state="retried")
    rows.task(state="finished")
    full = client_with(SPOILS_OPEN_QUEUE_DEPTH="2")
    response = full.post(FETCH, json={"barcode": "737628064502"})
    assert response.status_code == 429
    assert response.get_json()["error"].startswith("The queue is full: 2 jobs are waiting")
    assert response.headers["Retry-After"] == "30"
    assert full.get(STATUS).status_code == 200
    assert rows.value("SELECT count(*) FROM fang_tasks") == 3
    known = client_with(SPOILS_OPEN_QUEUE_DEPTH="2", SPOILS_API_TOKEN="t0ken")
    assert known.post(FETCH, json={"barcode": "737628064502"}, headers=DOOR).status_code == 200
    roomy = client_with(SPOILS_OPEN_QUEUE_DEPTH="4")
    assert roomy.post(FETCH, json={"barcode": "4006381333931"}).status_code == 200


def test_the_depth_is_read_once_a_second(rows: Rows) -> None:
    now, reads = [1000.0], []
    depth = Depth(lambda: now[0])

    def connection() -> Connection:
        reads.append(now[0])
        return rows.connection

    assert depth.waiting(connection) == 0
    rows.task()
    assert (depth.waiting(connection), len(reads)) == (0, 1)
    now[0] += 1
    assert (depth.waiting(connection), len(reads)) == (1, 2)


def test_the_start_of_an_open_api_is_logged_as_a_warning(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def warned(*, development: bool = False, **environment: str) -> bool:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "spoils.web"):
            create_app(
                Settings.from_env({"DATABASE_URL": database_url, **environment}, development=development)
            )
        return "No SPOILS_API_TOKEN is set" in caplog.text

    assert warned()
    assert not warned(SPOILS_API_TOKEN="t0ken")
    assert not warned(development=True)


def test_a_request_from_a_page_of_this_site_is_served(client_with: MakeClient) -> None:
    client = client_with()
    for headers in ({"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, {}):
        assert client.post(FETCH, json={"barcode": "737628064502"}, headers=headers).status_code == 200
