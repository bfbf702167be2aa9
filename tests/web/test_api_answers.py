"""What all responses of the API have in common: headers, no secrets, and a sentence while the database is away."""

import re

import pytest
from flask.testing import FlaskClient
from sqlalchemy import make_url, text

from spoils.db.trouble import QUIET_SECONDS, Trouble
from tests.conftest import administration
from tests.rows import Rows
from tests.web.conftest import MakeClient

FETCH = "/api/jobs/fetch-product"
TASK = "/api/jobs/00000000-0000-4000-8000-000000000000"
NOWHERE = "postgresql://spoils:dbp4ssword@127.0.0.1:1/nowhere"
SECRETS = {
    "SPOILS_API_TOKEN": "scanner:t0ken-s3cret",
    "SPOILS_ADMIN_PASSWORD": "adm1n-s3cret",
    "SPOILS_VIEWER_PASSWORD": "v1ewer-s3cret",
    "SECRET_KEY": "k3y-s3cret-k3y-s3cret-k3y-s3cret",
    "SPOILS_NOTIFY_URL_EMAIL": "mailtos://user:m4il-s3cret@example.com",
}
DOOR = {"Authorization": "Bearer t0ken-s3cret"}
READS = ["/health", "/metrics", "/api/jobs/status", TASK, "/api/products/737628064502"]


def is_away(client: FlaskClient) -> None:
    for path in READS:
        response = client.get(path, headers=DOOR)
        assert (response.status_code, response.content_type) == (503, "application/json"), path
        assert response.get_json() == {"error": "The database does not answer. Try again in a moment."}
        assert response.headers["Cache-Control"] == "no-store"
        assert "p4ssword" not in f"{response.headers}"
    response = client.post(FETCH, json={"barcode": "737628064502"}, headers=DOOR)
    assert response.status_code == 503
    # An invalid request is still refused as such.
    assert client.post(FETCH, json={"barcode": "no"}, headers=DOOR).status_code == 422


def test_a_database_that_goes_away_is_answered_with_503_and_used_again_once_it_is_back(
    client_with: MakeClient, postgres_url: str, database_url: str
) -> None:
    client = client_with(**SECRETS)
    assert client.post(FETCH, json={"barcode": "737628064502"}, headers=DOOR).status_code == 200
    name = make_url(database_url).database
    with administration(postgres_url) as server:

        def rename(old: str, new: str) -> None:
            server.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
                {"name": old},
            )
            server.execute(text(f"ALTER DATABASE {old} RENAME TO {new}"))

        rename(str(name), f"{name}_away")
        is_away(client)
        rename(f"{name}_away", str(name))
    again = client.post(FETCH, json={"barcode": "737628064502"}, headers=DOOR)
    assert (again.status_code, again.get_json()["duplicate"]) == (200, True)
    assert client.get("/health").get_json() == {"status": "ok"}


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged since the applications were made, which warn of missing settings."""
    lines = [record.getMessage() for record in caplog.records if not record.exc_info]
    assert len(lines) == len(caplog.records), "there is a traceback"
    return [line for line in lines if not line.startswith("No SPOILS_")]


def test_an_outage_is_logged_when_it_begins_and_when_it_is_over_and_not_for_each_request(
    client_with: MakeClient, outage: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    away, client = client_with(**{**SECRETS, "DATABASE_URL": NOWHERE}), client_with()
    for _ in range(3):
        is_away(away)
    assert [line[:29] for line in logged(caplog)] == ["Database unavailable (web): c"]
    caplog.clear()
    outage._latest_at -= QUIET_SECONDS  # so long ago
    for _ in range(2):
        assert client.post(FETCH, json={"barcode": "737628064502"}).status_code == 200
    assert [line[:31] for line in logged(caplog)] == ["Database available again after "]


def test_a_missing_privilege_is_logged_once_and_not_for_each_request(
    client_with: MakeClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    rows.connection.execute(
        text(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no right' USING ERRCODE = '42501'; END $$; "
            "CREATE TRIGGER refuse BEFORE INSERT ON fang_tasks EXECUTE FUNCTION refuse()"
        )
    )
    try:
        client = client_with()
        for _ in range(3):
            assert client.post(FETCH, json={"barcode": "737628064502"}).status_code == 503
    finally:
        rows.connection.execute(text("DROP FUNCTION refuse CASCADE"))
    assert logged(caplog) == ["The database refuses a statement: InsufficientPrivilege: no right"]


def test_a_database_that_only_reads_is_answered_with_503(client_with: MakeClient, rows: Rows) -> None:
    # As during a failover: the follower answers, and takes no writes yet.
    database = rows.value("SELECT current_database()")
    rows.connection.execute(text(f"ALTER DATABASE {database} SET default_transaction_read_only = on"))
    try:
        client = client_with()
        assert client.get("/api/jobs/status").status_code == 200
        assert client.post(FETCH, json={"barcode": "737628064502"}).status_code == 503
    finally:
        rows.connection.execute(text(f"ALTER DATABASE {database} RESET default_transaction_read_only"))


def test_a_database_without_the_schema_is_an_error_without_a_traceback(
    client_with: MakeClient, empty_database_url: str
) -> None:
    client = client_with(DATABASE_URL=empty_database_url)
    for response in (client.get("/api/jobs/status"), client.post(FETCH, json={"barcode": "737628064502"})):
        assert response.status_code in (500, 503)
        assert response.get_json().keys() == {"error"}
        assert not re.search("fang_tasks|spoils_counts|psycopg", response.get_data(as_text=True))
