"""API tokens: made on a page and shown once, held to their scopes, and refused from the moment they are revoked."""

import re
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, event, text

from spoils.masking import masked_text
from spoils.models import db
from tests.rows import Rows
from tests.web.dashboard.conftest import ADMIN, LOCKED, VIEWER, MakeApp
from tests.web.dashboard.pages import Visitor, actions, words

SECRET = re.compile(r"spl_[\w-]{43}")
NOODLES = {"barcode": "737628064502"}
USE_IT = "UPDATE spoils_api_tokens SET last_used_at = now() - interval '{}'"


@pytest.fixture
def locked(make_app: MakeApp) -> Flask:
    return make_app(**LOCKED, SPOILS_API_TOKEN="t0ken")


def make(admin: Visitor, name: str = "scanner", *scopes: str, **fields: Any) -> str:
    """Make a token on the page; its secret."""
    sent = {"csrf_token": admin.token(), "name": name, "scope": [*scopes] or ["read"], **fields}
    response = admin.client.post("/tokens", data=sent)
    assert response.status_code == 200, words(response)
    assert response.headers["Cache-Control"] == "no-store"
    return SECRET.findall(response.text)[0]


def call(client: FlaskClient, secret: str, method: str = "GET", path: str = "/api/jobs", **more: Any) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    return client.open(path, method=method, headers=headers, **more).status_code


def test_its_secret_is_shown_once_and_only_a_hash_of_it_is_kept(admin: Visitor, rows: Rows) -> None:
    secret = make(admin, "scanner", "read", "enqueue")
    page = admin.see("/tokens")
    assert "scanner read, enqueue" in words(page)
    assert not SECRET.search(page.text)
    kept = rows.value("SELECT string_agg(t::text, ' ') FROM spoils_api_tokens t")
    log = rows.all("SELECT who, verb, about, done FROM spoils_audit")
    assert log == [("admin", "make token", "scanner", True)]
    assert secret not in kept
    assert secret not in str(rows.all("SELECT a::text FROM spoils_audit a"))
    assert secret not in masked_text(f"The call with {secret} failed.")


@pytest.mark.parametrize(
    ("scopes", "statuses"),
    [
        (["read"], (200, 403, 403)),
        (["enqueue"], (403, 200, 403)),
        (["read", "enqueue"], (200, 200, 403)),
        (["admin"], (200, 200, 200)),
    ],
)
def test_it_opens_the_calls_of_its_scopes(
    admin: Visitor, locked: Flask, rows: Rows, scopes: list[str], statuses: tuple[int, int, int]
) -> None:
    reads, enqueues, acts = statuses
    secret, client = make(admin, "scanner", *scopes), locked.test_client()
    failed: UUID = rows.task(state="failed")
    assert {call(client, secret, path=path) for path in ("/api/jobs", f"/api/jobs/{failed}", "/metrics")} == {
        reads
    }
    by_name = {"type": "FetchProductJob", "payload": NOODLES}
    calls = [("/api/jobs/fetch-product", NOODLES), ("/api/jobs", by_name), ("/api/jobs/batch", [by_name])]
    assert {call(client, secret, "POST", path, json=body) for path, body in calls} == {enqueues}
    assert call(client, secret, "POST", f"/api/jobs/{failed}/retry") == acts
    assert call(client, secret, "DELETE", f"/api/jobs/{failed}") == acts
    assert call(client, secret, path="/openapi.json") == 200
    assert call(client, "t0ken") == 200


def test_the_audit_log_names_the_token(admin: Visitor, locked: Flask, rows: Rows) -> None:
    secret = make(admin, "ops", "admin")
    assert call(locked.test_client(), secret, "POST", f"/api/jobs/{rows.task(state='failed')}/retry") == 200
    assert rows.all("SELECT who FROM spoils_audit WHERE verb = 'retry'") == [("token:ops",)]
    assert "token:ops" in words(admin.see("/audit"))


def test_a_revoked_token_is_refused_at_once_in_every_process(
    admin: Visitor, locked: Flask, make_app: MakeApp, rows: Rows
) -> None:
    secret, other = make(admin), make(admin, "other")
    clients = [locked.test_client(), make_app(**LOCKED, SPOILS_API_TOKEN="t0ken").test_client()]
    assert [call(client, secret) for client in clients] == [200, 200]
    revoked = rows.value("SELECT id FROM spoils_api_tokens WHERE name = 'scanner'")
    assert admin.press(f"/tokens/{revoked}/revocations").status_code == 303
    assert [call(client, secret) for client in clients] == [401, 401]
    assert [call(client, other) for client in clients] == [200, 200]
    assert rows.all("SELECT who, about FROM spoils_audit WHERE verb = 'revoke token'") == [
        ("admin", "scanner")
    ]
    admin.press(f"/tokens/{revoked}/revocations")
    assert "there is no such token" in words(admin.see("/tokens"))


def test_an_expired_token_is_refused_and_the_page_says_so(admin: Visitor, locked: Flask, rows: Rows) -> None:
    secret, client = make(admin, days="30"), locked.test_client()
    assert call(client, secret) == 200
    assert rows.value("SELECT expires_at - made_at FROM spoils_api_tokens").days == 30
    rows.connection.execute(text("UPDATE spoils_api_tokens SET expires_at = now()"))
    assert call(client, secret) == 401
    assert "expired" in words(admin.see("/tokens"))


def test_a_call_reads_the_token_once_and_notes_its_use_at_most_once_a_minute(
    admin: Visitor, locked: Flask, rows: Rows
) -> None:
    secret, client = make(admin), locked.test_client()
    statements: list[str] = []
    with locked.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    def of_the_token() -> list[str]:
        statements.clear()
        assert call(client, secret) == 200
        return [one.split()[0] for one in statements if "spoils_api_tokens" in one]

    assert of_the_token() == ["SELECT", "UPDATE"]
    assert of_the_token() == ["SELECT"]
    rows.connection.execute(text(USE_IT.format("59 seconds")))
    assert of_the_token() == ["SELECT"]
    rows.connection.execute(text(USE_IT.format("61 seconds")))
    assert of_the_token() == ["SELECT", "UPDATE"]
    assert rows.value("SELECT last_used_at > now() - interval '50 seconds' FROM spoils_api_tokens")
    statements.clear()
    # What has not the form of a token is not looked up, and the health check depends on none.
    assert call(client, "guess") == 401
    assert call(client, secret, path="/health") == 200
    assert not [one for one in statements if "spoils_api_tokens" in one]


def test_it_reads_while_the_database_takes_no_writes(
    admin: Visitor, make_app: MakeApp, connection: Connection
) -> None:
    secret = make(admin)
    database = connection.scalar(text("SELECT current_database()"))
    connection.execute(text(f"ALTER DATABASE {database} SET default_transaction_read_only = on"))
    try:
        assert call(make_app(SPOILS_API_TOKEN="t0ken").test_client(), secret) == 200
    finally:
        connection.execute(text(f"ALTER DATABASE {database} RESET default_transaction_read_only"))


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"name": ""}, 422, "A name has 1 to 64"),
        ({"name": "two words"}, 422, "A name has 1 to 64"),
        ({"scope": ""}, 422, "Choose what the token may do"),
        ({"scope": "root"}, 422, "Choose what the token may do"),
        ({"days": "0"}, 422, "a whole number from 1 to 3650"),
        ({"days": "soon"}, 422, "a whole number from 1 to 3650"),
        ({"name": "taken"}, 409, "There is already a token taken"),
    ],
)
def test_a_form_that_is_wrong_makes_no_token(
    admin: Visitor, rows: Rows, fields: dict[str, str], status: int, sentence: str
) -> None:
    make(admin, "taken")
    response = admin.press("/tokens", **{"name": "new", "scope": "read", **fields})
    assert response.status_code == status
    assert sentence in words(response)
    assert rows.value("SELECT count(*) FROM spoils_api_tokens") == 1


def test_a_viewer_sees_the_tokens_and_makes_none(locked: Flask, admin: Visitor) -> None:
    make(admin)
    viewer = Visitor(locked.test_client()).log_in(VIEWER)
    page = viewer.see("/tokens")
    assert "scanner" in words(page)
    assert actions(page) == ["/logout"]
    assert viewer.press("/tokens", name="mine", scope="admin").status_code == 403
    assert Visitor(locked.test_client()).log_in(ADMIN).see("/tokens")
