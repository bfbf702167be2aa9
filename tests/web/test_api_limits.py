"""What a client without a token may ask for, and that a token lifts it."""

import logging

import pytest
from flask.testing import FlaskClient

from spoils.config import Settings
from spoils.web import create_app
from spoils.web.api.limits import BURST, Buckets, Depth
from tests.rows import Rows
from tests.web.conftest import MakeClient

FETCH = "/api/jobs/fetch-product"
STATUS = "/api/jobs/status"
DOOR = {"Authorization": "Bearer t0ken"}


class Clock:
    """A clock that stands still until it is set on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_client_has_its_burst_and_then_so_many_a_second() -> None:
    clock = Clock()
    buckets = Buckets(per_second=20, burst=200, clock=clock)
    assert [buckets.take("a") for _ in range(200)] == [0.0] * 200
    assert buckets.take("a") == pytest.approx(0.05)
    assert buckets.take("b") == 0.0
    clock.now += 0.5
    assert [buckets.take("a") > 0 for _ in range(11)] == [False] * 10 + [True]
    clock.now += 3600
    assert [buckets.take("a") > 0 for _ in range(201)] == [False] * 200 + [True]


def test_the_clients_that_are_remembered_are_bounded_the_last_to_come_stay() -> None:
    buckets = Buckets(per_second=1, burst=1, clients=2, clock=Clock())
    assert [buckets.take(name) for name in "aba"] == [0.0, 0.0, 1.0]
    buckets.take("c")
    assert (buckets.take("a") > 0, buckets.take("b") > 0) == (True, False)


def ask(client: FlaskClient, address: str = "203.0.113.1", **headers: str):
    return client.get(STATUS, headers=headers, environ_base={"REMOTE_ADDR": address})


def exhaust(client: FlaskClient, address: str = "203.0.113.1") -> None:
    buckets = client.application.extensions["spoils_buckets"]
    for _ in range(BURST + 50):
        buckets.take(address)


def test_who_asks_too_often_is_told_when_to_come_back_and_nobody_else_is(client: FlaskClient) -> None:
    exhaust(client)
    client.application.extensions["spoils_buckets"]._clock = Clock()
    response = ask(client)
    assert response.status_code == 429
    assert response.get_json()["error"].startswith("Too many requests came from your address")
    assert int(response.headers["Retry-After"]) >= 1
    assert ask(client, "203.0.113.2").status_code == 200
    assert client.get("/health", environ_base={"REMOTE_ADDR": "203.0.113.1"}).status_code == 200


def test_of_ipv6_a_whole_network_is_one_client(client: FlaskClient) -> None:
    exhaust(client, "2001:db8:1:2::/64")
    client.application.extensions["spoils_buckets"]._clock = Clock()
    assert ask(client, "2001:db8:1:2:3::4").status_code == 429
    assert ask(client, "2001:db8:1:3::4").status_code == 200


def test_a_token_has_no_limit_and_a_wrong_one_has(client_with: MakeClient) -> None:
    client = client_with(SPOILS_API_TOKEN="t0ken")
    exhaust(client)
    client.application.extensions["spoils_buckets"]._clock = Clock()
    assert ask(client, **DOOR).status_code == 200
    assert ask(client, Authorization="Bearer guess").status_code == 429
    assert ask(client).status_code == 429


def test_into_a_full_queue_nobody_without_a_token_puts_more(client_with: MakeClient, rows: Rows) -> None:
    rows.task(state="new")
    rows.task(state="retried")
    rows.task(state="finished")
    full = client_with(SPOILS_OPEN_QUEUE_DEPTH="2")
    response = full.post(FETCH, json={"barcode": "737628064502"})
    assert response.status_code == 429
    assert response.get_json()["error"].startswith("The queue is full: 2 jobs wait")
    assert response.headers["Retry-After"] == "30"
    assert full.get(STATUS).status_code == 200
    assert rows.value("SELECT count(*) FROM fang_tasks") == 3
    known = client_with(SPOILS_OPEN_QUEUE_DEPTH="2", SPOILS_API_TOKEN="t0ken")
    assert known.post(FETCH, json={"barcode": "737628064502"}, headers=DOOR).status_code == 200
    roomy = client_with(SPOILS_OPEN_QUEUE_DEPTH="4")
    assert roomy.post(FETCH, json={"barcode": "4006381333931"}).status_code == 200


def test_the_depth_is_looked_up_once_a_second(rows: Rows) -> None:
    clock = Clock()
    depth = Depth(clock)
    asked = []

    def connection():
        asked.append(1)
        return rows.connection

    assert depth.waiting(connection) == 0
    rows.task()
    assert (depth.waiting(connection), len(asked)) == (0, 1)
    clock.now += 1
    assert (depth.waiting(connection), len(asked)) == (1, 2)


def test_an_open_api_is_told_at_the_start(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
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


def test_what_another_site_s_page_sends_changes_nothing(client: FlaskClient, rows: Rows) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        response = client.post(FETCH, json={"barcode": "737628064502"}, headers=headers)
        assert response.status_code == 403
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    for headers in ({"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, {}):
        assert client.post(FETCH, json={"barcode": "737628064502"}, headers=headers).status_code == 200
