"""A plain POST with a token is answered before Flask, and as Flask would answer it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.signals import request_started
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from spoils.models import db
from spoils.web.plain import MAY_HOLD
from tests.databases import emptied
from tests.programs import free_port
from tests.rows import Rows
from tests.web.conftest import MakeClient

TOKEN = "scanner:a-token-of-some-length"
BEARER = {"Authorization": "Bearer a-token-of-some-length"}
# Harmless, and not plain.
BY_FLASK = {"Sec-Fetch-Site": "same-origin"}
FETCH = "/api/jobs/fetch-product"
GOOD = b'{"barcode": "737628064502"}'
NOTICE = b'{"user_id": 7, "notification_type": "email", "message": "%b"}'
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def client(client_with: MakeClient) -> FlaskClient:
    return client_with(SPOILS_API_TOKEN=TOKEN, SPOILS_HOSTS="localhost,.example.com")


@pytest.fixture
def by_flask() -> Iterator[list[Flask]]:
    """One for each request that Flask begins to answer."""
    began: list[Flask] = []

    def note(app: Flask, **_more: object) -> None:
        began.append(app)

    with request_started.connected_to(note):
        yield began


def post(client: FlaskClient, path: str = FETCH, data: bytes = GOOD, **more: Any) -> TestResponse:
    headers = {"Content-Type": "application/json", **BEARER, **more.pop("headers", {})}
    return client.post(path, data=data, headers=headers, **more)


def out_of_the_pool(client: FlaskClient) -> int:
    with client.application.app_context():
        pool: Any = db.engine.pool
    number: int = pool.checkedout()
    return number


def test_what_flask_answers_takes_its_connection_from_a_pool_that_misses_none(client: FlaskClient) -> None:
    assert post(client).status_code == 200
    assert out_of_the_pool(client) == 0
    for other in (
        lambda: client.get("/api/jobs/status", headers=BEARER),
        lambda: post(client, data=b"{"),
        lambda: post(client, "/api/jobs/send-notification", NOTICE % b"\\u0000"),
    ):
        assert post(client, environ_base={MAY_HOLD: True}).status_code == 200
        assert out_of_the_pool(client) == 1
        assert other().status_code in (200, 400, 422)
        assert out_of_the_pool(client) == 0


def told(response: TestResponse) -> tuple[int, list[tuple[str, str]], str]:
    return response.status_code, sorted(response.headers), _ID.sub("<id>", response.text)


@pytest.mark.parametrize(
    "sent",
    [
        (FETCH, GOOD),
        ("/api/jobs/analyze-ingredients", b'{"product_id": 1}'),
        ("/api/jobs/send-notification", NOTICE % "Té: http://me:hunter2@host".encode()),
        ("/api/jobs/cleanup", b"{}"),
    ],
)
@pytest.mark.parametrize("base_url", ["http://localhost", "https://shop.example.com"])
def test_what_is_plain_never_reaches_flask_and_is_answered_alike(
    client: FlaskClient, rows: Rows, by_flask: list[Flask], sent: tuple[str, bytes], base_url: str
) -> None:
    plain = [post(client, *sent, base_url=base_url) for _ in range(2)]
    assert by_flask == []
    put = rows.all("SELECT task_type, metadata, uniq_hash, state, priority FROM fang_tasks ORDER BY id")
    rows.all("DELETE FROM fang_tasks RETURNING id")
    flasks = [post(client, *sent, base_url=base_url, headers=BY_FLASK) for _ in range(2)]
    assert len(by_flask) == 2
    assert [told(one) for one in plain] == [told(one) for one in flasks]
    assert [one.status_code for one in plain] == [200, 200]
    assert put == rows.all(
        "SELECT task_type, metadata, uniq_hash, state, priority FROM fang_tasks ORDER BY id"
    )


@pytest.mark.parametrize(
    "sent",
    [
        {"data": b'{"barcode": "12"}'},
        {"data": b'{"barcode": "737628064502", "count": 1}'},
        {"data": b'{"barcode": "737628064502", "barcode": "737628064502"}'},
        {"data": b'["737628064502"]'},
        {"data": b"{"},
        {"data": b""},
        {"data": b'{"barcode": "\xff"}'},
        {"data": GOOD + b" " * 65_536},
        {"data": NOTICE % b"\\u0000", "path": "/api/jobs/send-notification"},
        {"data": NOTICE % b"\\ud800", "path": "/api/jobs/send-notification"},
        {"headers": {"Content-Type": "text/plain"}},
        {"headers": {"Content-Type": "application/json; charset=utf-8"}},
        {"headers": {"Authorization": "Bearer another-token-of-some-length"}},
        {"headers": {"Authorization": ""}},
        {"headers": {"Origin": "https://evil.example"}},
        {"headers": {"Idempotency-Key": "a key"}},
        {"base_url": "http://evil.example.org"},
        {"headers": {"Host": "a..example.com"}},
        {"headers": {"Host": f"{'a' * 64}.example.com"}},
        {"headers": {"Connection": "Upgrade", "Upgrade": "websocket"}},
        {"data": b"\xef\xbb\xbf" + GOOD},
        {"query_string": {"priority": "2"}},
        {"path": "/api/jobs/nothing"},
        {"path": "/api/jobs/batch"},
        {"path": "/api/jobs/status"},
        {"path": "/api/jobs/fetch-product/"},
        {"path": "/api/jobs/FETCH-PRODUCT"},
    ],
)
def test_whatever_is_not_plain_or_wrong_is_flasks(
    client: FlaskClient, rows: Rows, by_flask: list[Flask], sent: dict[str, Any]
) -> None:
    ours = post(client, **sent)
    assert len(by_flask) == 1
    rows.all("DELETE FROM fang_tasks RETURNING id")
    forced = {**sent, "headers": {**BY_FLASK, **sent.get("headers", {})}}
    assert told(ours) == told(post(client, **forced))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda text: f'{{"barcode": {text}}}'.encode(errors="replace"),
            st.one_of(st.text(max_size=20), st.from_regex(r'\A"[0-9]{6,15}"\Z'), st.integers().map(str)),
        ),
    )
)
def test_any_body_is_answered_alike(client: FlaskClient, database_url: str, data: bytes) -> None:
    plain = told(post(client, data=data))
    emptied(database_url)
    assert plain == told(post(client, data=data, headers=BY_FLASK))
    emptied(database_url)


def test_a_database_that_is_away_is_told_alike(client_with: MakeClient, by_flask: list[Flask]) -> None:
    client = client_with(
        SPOILS_API_TOKEN=TOKEN, DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    )
    plain = post(client)
    assert (plain.status_code, by_flask) == (503, [])
    assert told(plain) == told(post(client, headers=BY_FLASK))


def test_a_body_that_breaks_off_leaves_nothing(client: FlaskClient, rows: Rows) -> None:
    answer = post(client, environ_overrides={"CONTENT_LENGTH": "99"})
    assert answer.status_code == 400
    assert "cut short" in answer.get_json()["error"]
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


def test_without_a_token_set_every_request_is_flasks(client_with: MakeClient, by_flask: list[Flask]) -> None:
    assert post(client_with()).status_code == 200
    assert len(by_flask) == 1
