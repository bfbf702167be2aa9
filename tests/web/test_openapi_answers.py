"""Each documented error of each operation is provoked, and answered as documented."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
import requests
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from spoils.queue import api_tokens
from spoils.web.hit_counter import RateLimit
from tests.programs import Web
from tests.rows import Rows
from tests.web.conftest import MakeClient

DOOR = {"Authorization": "Bearer t0ken"}
NOTE = {"user_id": 1, "notification_type": "email", "message": "hello"}
ORDER = {"type": "SendNotificationJob", "payload": NOTE}
BODIES: dict[str, Any] = {
    "/api/jobs": ORDER,
    "/api/jobs/batch": [ORDER],
    "/api/jobs/fetch-product": {"barcode": "737628064502"},
    "/api/jobs/analyze-ingredients": {"product_id": 1},
    "/api/jobs/send-notification": NOTE,
    "/api/schedules": {"name": "nightly", "job": "CleanupJob", "cron": "0 2 * * *"},
    "/api/schedules/{name}": {"cron": "0 2 * * *"},
}
SERVERS_OWN = "414"


@dataclass
class Asking:
    """One operation, and how its requests are made."""

    method: str
    path: str
    clients: dict[str, FlaskClient]
    rows: Rows
    parameters: dict[str, str] = field(default_factory=dict)

    def ask(self, client: str = "with a token", **changed: Any) -> TestResponse:
        """A request that would be good but for what is changed."""
        body = {"json": BODIES.get(self.path, {}) if self.method != "DELETE" else {}}
        body = body if self.method != "GET" else {}
        parameters = {
            "task_id": str(uuid4()),
            "barcode": "3017620422003",
            "batch_id": str(uuid4()),
            "name": "nothing",
            **self.parameters,
        }
        given = {"headers": DOOR, **body, **changed}
        return self.clients[client].open(self.path.format(**parameters), method=self.method.upper(), **given)


def not_changed(asking: Asking) -> TestResponse:
    task_id = asking.rows.task()
    asking.rows.all(
        "INSERT INTO products (barcode, document) VALUES ('3017620422003', '{}') ON CONFLICT DO NOTHING RETURNING id"
    )
    asking.parameters = {"task_id": str(task_id)}
    etag = asking.ask().headers["ETag"]
    return asking.ask(headers={**DOOR, "If-None-Match": etag})


def of_the_wrong_state(asking: Asking) -> TestResponse:
    if asking.path == "/api/schedules":
        asking.ask()  # takes the name
        return asking.ask()
    state = "finished" if asking.path.endswith("cancel") else "in_progress"
    asking.parameters = {"task_id": str(asking.rows.task(state=state))}
    return asking.ask()


def not_there(asking: Asking) -> TestResponse:
    asking.parameters = {"barcode": "0000000000017"}
    return asking.ask()


def too_large(asking: Asking) -> TestResponse:
    size = 8 * 1024 * 1024 if asking.path.endswith("batch") else 64 * 1024
    return asking.ask(json=None, data=b" " * (size + 1), content_type="application/json")


def not_installed(asking: Asking) -> TestResponse:
    with patch.dict(sys.modules, {"prometheus_client": None}):
        return asking.ask()


def without_the_scope(asking: Asking) -> TestResponse:
    insert = "INSERT INTO spoils_api_tokens (name, secret_hash, scopes, made_by) VALUES ('idle', :hash, '{}', 'test')"
    secret = "spl_" + "x" * 43
    asking.rows.connection.execute(
        text(f"{insert} ON CONFLICT DO NOTHING"), {"hash": api_tokens.hash_of(secret)}
    )
    return asking.ask(headers={"Authorization": f"Bearer {secret}"})


PROVOKED: dict[str, Callable[[Asking], TestResponse]] = {
    "304": not_changed,
    "400": lambda asking: asking.ask(headers={**DOOR, "Host": ".."}),
    "401": lambda asking: asking.ask(headers={}),
    "403": without_the_scope,
    "404": not_there,
    "409": of_the_wrong_state,
    "413": too_large,
    "415": lambda asking: asking.ask(json=None, data="x", content_type="text/plain"),
    "422": lambda asking: asking.ask(json=[{"type": "x"}] if asking.path.endswith("batch") else {"x": 1}),
    "429": lambda asking: asking.ask("who asked too often", headers={}),
    "501": not_installed,
    "503": lambda asking: asking.ask("without a database"),
}


@pytest.fixture
def clients(client_with: MakeClient) -> dict[str, FlaskClient]:
    away = "postgresql://127.0.0.1:1/nothing?connect_timeout=1"
    found = {
        "with a token": client_with(SPOILS_API_TOKEN="t0ken"),
        "without a database": client_with(SPOILS_API_TOKEN="t0ken", DATABASE_URL=away),
        "who asked too often": client_with(SPOILS_API_TOKEN="t0ken"),
    }
    asker = found["who asked too often"]
    asker.application.extensions["spoils_rate_limit"] = RateLimit(1, 24 * 3600)
    asker.get("/api/jobs/status")
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_each_error_that_is_documented_is_answered_with_its_status_and_its_content_type(
    clients: dict[str, FlaskClient], rows: Rows
) -> None:
    document = clients["with a token"].get("/openapi.json", headers=DOOR).get_json()
    provoked = 0
    for method, path, operation in operations(document):
        if "requestBody" in operation and path not in BODIES:
            continue  # a job that another test has defined
        for status, told in operation["responses"].items():
            if status in ("200", SERVERS_OWN):
                continue
            response = PROVOKED[status](Asking(method, path, clients, rows))
            where = f"{method} {path} {status}: {response.status_code} {response.text[:200]}"
            assert str(response.status_code) == status, where
            assert list(told.get("content", {})) == ([response.mimetype] if response.data else []), where
            assert not response.data or response.get_json()["error"].endswith("."), where
            provoked += 1
    assert provoked > 100


def test_each_good_answer_is_documented_and_no_other_status(client_with: MakeClient) -> None:
    for token in ("", "t0ken"):
        client = client_with(SPOILS_API_TOKEN=token, development=not token)
        document = client.get("/openapi.json", headers=DOOR if token else {}).get_json()
        for method, path, operation in operations(document):
            assert "200" in operation["responses"], (method, path)
            # Who needs no token is never told to send one.
            assert ("401" in operation["responses"]) == ({} not in operation["security"]), (method, path)


@pytest.mark.process
def test_a_request_that_the_server_refuses_before_the_api_is_answered_in_html_as_documented(
    database_url: str,
) -> None:
    with Web(database_url, SPOILS_API_TOKEN="t0ken") as web:
        document = requests.get(f"{web.url}/openapi.json", headers=DOOR, timeout=15).json()
        longest = 4_094 - len("GET  HTTP/1.1")
        for length, status in ((longest, 200), (longest + 1, 414)):
            path = "/health?".ljust(length, "a")
            response = requests.get(web.url + path, timeout=15)
            assert response.status_code == status
    assert response.headers["Content-Type"] == "text/html"
    told = document["paths"]["/health"]["get"]["responses"]["414"]
    assert list(told["content"]) == ["text/html"]
    assert "longer than 4,094 bytes" in told["description"]
