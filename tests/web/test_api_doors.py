"""Authentication: which endpoints require a token, with tokens set and without."""

import pytest
import requests
from flask.testing import FlaskClient

from tests.programs import Web
from tests.rows import Rows
from tests.web.conftest import MakeClient

TASK = "00000000-0000-4000-8000-000000000000"
Case = tuple[str, str, object, int]
OPEN: list[Case] = [
    ("GET", "/health", None, 200),
    ("GET", "/api/jobs/status", None, 200),
    ("GET", "/api/products/737628064502", None, 404),
    ("POST", "/api/jobs/fetch-product", {"barcode": "737628064502"}, 200),
    ("POST", "/api/jobs/analyze-ingredients", {"product_id": 1}, 200),
    ("POST", "/api/jobs/AnalyzeIngredientsJob", {"product_id": 1}, 200),
]
NOTE = {"user_id": 1, "notification_type": "email", "message": "hello"}
CLOSED: list[Case] = [
    ("GET", f"/api/jobs/{TASK}", None, 404),
    ("POST", "/api/jobs/send-notification", NOTE, 200),
    ("POST", "/api/jobs/send_notification", NOTE, 200),
    ("POST", "/api/jobs/CleanupJob", {}, 200),
    ("GET", "/metrics", None, 200),
]


def call(client: FlaskClient, method: str, path: str, payload: object, **headers: str) -> tuple[int, dict]:
    response = client.open(path, method=method, json=payload, headers=headers)
    return response.status_code, response.get_json()


@pytest.mark.parametrize("case", OPEN, ids=lambda case: case[1])
def test_the_guide_s_endpoints_are_open_while_no_token_is_set(client: FlaskClient, case: Case) -> None:
    method, path, payload, status = case
    assert call(client, method, path, payload)[0] == status


@pytest.mark.parametrize("case", CLOSED, ids=lambda case: case[1])
def test_the_others_are_closed_while_no_token_is_set_whatever_is_sent(
    client: FlaskClient, rows: Rows, case: Case
) -> None:
    method, path, payload, _ = case
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer guess"}):
        found, answer = call(client, method, path, payload, **headers)
        assert found == 401
        assert "Set SPOILS_API_TOKEN to open it" in answer["error"]
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


@pytest.mark.parametrize("case", [*OPEN[1:], *CLOSED], ids=lambda case: case[1])
def test_with_a_token_set_every_endpoint_but_the_health_check_requires_it(
    client_with: MakeClient, rows: Rows, case: Case
) -> None:
    method, path, payload, status = case
    client = client_with(SPOILS_API_TOKEN="t0ken")
    response = client.open(path, method=method, json=payload)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.get_json() == {"error": "A token is required. Send it as Authorization: Bearer <token>."}
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    assert call(client, method, path, payload, Authorization="Bearer t0ken")[0] == status
    assert call(client, "GET", "/health", None)[0] == 200


def test_any_of_several_tokens_opens_named_or_not(client_with: MakeClient) -> None:
    client = client_with(SPOILS_API_TOKEN="plain, scanner:s3cret ,shop:with:colon")
    for secret in ("plain", "s3cret", "with:colon"):
        assert call(client, "GET", "/api/jobs/status", None, Authorization=f"Bearer {secret}")[0] == 200
        assert call(client, "GET", "/api/jobs/status", None, Authorization=f"bearer  {secret} ")[0] == 200
    wrong = ("scanner", "scanner:s3cret", "shop", "colon", "plain,", "PLAIN", "", "plain, scanner:s3cret")
    for secret in wrong:
        assert call(client, "GET", "/api/jobs/status", None, Authorization=f"Bearer {secret}")[0] == 401


@pytest.mark.parametrize(
    "header", ["t0ken", "Basic t0ken", "Token t0ken", "Bearert0ken", "Basic OnQwa2Vu", "", " "]
)
def test_a_wrong_scheme_is_refused(client_with: MakeClient, header: str) -> None:
    client = client_with(SPOILS_API_TOKEN="t0ken")
    assert call(client, "GET", "/api/jobs/status", None, Authorization=header)[0] == 401


def test_a_wrong_token_reveals_no_job_classes(client_with: MakeClient) -> None:
    client = client_with(SPOILS_API_TOKEN="t0ken")
    status, answer = call(client, "POST", "/api/jobs/no-such-job", {})
    assert status == 401
    assert "fetch-product" not in answer["error"]


HERE = {"base_url": "http://localhost:8000"}
FROM_OUTSIDE = [
    pytest.param({}, {"base_url": "http://evil.example"}, id="by a name of another site"),
    pytest.param({}, {**HERE, "environ_overrides": {"REMOTE_ADDR": "192.0.2.7"}}, id="from another machine"),
    pytest.param({"SPOILS_API_TOKEN": "t0ken"}, HERE, id="with a token set"),
    pytest.param({"development": False}, HERE, id="in production"),
]


def test_in_development_this_machine_reads_the_job_that_it_has_enqueued(client_with: MakeClient) -> None:
    client = client_with(development=True)
    created = client.post("/api/jobs/fetch-product", json={"barcode": "737628064502"}, **HERE)
    read = client.get(f"/api/jobs/{created.get_json()['id']}", **HERE)
    assert (read.status_code, read.get_json()["state"]) == (200, "new")
    assert client.delete(f"/api/jobs/{created.get_json()['id']}", **HERE).status_code == 401


@pytest.mark.parametrize(("settings", "asked"), FROM_OUTSIDE)
def test_nobody_else_reads_a_job_without_a_token(
    client_with: MakeClient, rows: Rows, settings: dict, asked: dict
) -> None:
    client = client_with(**{"development": True, **settings})
    assert client.get(f"/api/jobs/{rows.task()}", **asked).status_code == 401


@pytest.mark.process
def test_a_token_beyond_ascii_opens_over_http_in_utf_8_and_any_bytes_are_taken_as_wrong(
    database_url: str,
) -> None:
    with Web(database_url, SPOILS_API_TOKEN="schlüssel☃") as web:

        def status(value: bytes) -> int:
            answer = requests.get(f"{web.url}/api/jobs/status", headers={"Authorization": value}, timeout=10)
            assert set(answer.json()) >= ({"error"} if answer.status_code == 401 else {"status"})
            return answer.status_code

        assert status("Bearer schlüssel☃".encode()) == 200
        assert status("Bearer schlüssel".encode()) == 401
        assert status("Bearer schlüssel".encode("latin-1")) == 401
        assert status(b"Bearer \xff\xfe\x80") == 401
