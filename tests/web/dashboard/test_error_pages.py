"""The pages that a person sees when something is wrong."""

import pytest
from sqlalchemy import Engine, text

from spoils.web import application
from tests.web.dashboard.conftest import LOCKED, MakeApp
from tests.web.dashboard.pages import Visitor, words

NOBODY = "postgresql://nobody@127.0.0.1:1/none"


def test_a_page_is_shown_while_the_database_is_away(make_app: MakeApp) -> None:
    client = make_app(development=True, DATABASE_URL=NOBODY).test_client()
    for path in ("/jobs", "/products", "/jobs/7b0cf0f6-3b5c-4c0e-9a51-0a6b1b1f7c11"):
        response = client.get(path)
        assert response.status_code == 503, path
        assert "The database does not answer." in words(response)
        assert "running workers" not in words(response)


def test_logging_in_needs_no_database(make_app: MakeApp) -> None:
    visitor = Visitor(make_app(**{**LOCKED, "DATABASE_URL": NOBODY}).test_client())
    assert visitor.press("/login", password=LOCKED["SPOILS_ADMIN_PASSWORD"]).status_code == 303


def test_a_query_of_the_status_bar_that_times_out_is_left_out(
    make_app: MakeApp, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "STATEMENT_TIMEOUT_MS", 100)
    client = make_app(development=True).test_client()
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as other:
        other.execute(text("LOCK TABLE spoils_counts IN ACCESS EXCLUSIVE MODE"))
        response = client.get("/jobs")
        other.rollback()
    assert response.status_code == 200
    assert "The database is slow. Some figures took too long and are left out." in words(response)
    assert "The database is slow." not in words(client.get("/jobs"))


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/jobs", 405)])
def test_an_unknown_address_is_an_error_page(admin: Visitor, method: str, path: str, status: int) -> None:
    response = admin.client.open(path, method=method)
    assert response.status_code == status
    assert f"{status} This address" in words(response) or f"{status} There is nothing" in words(response)


def test_an_internal_error_is_a_page_without_its_traceback(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoils.web.dashboard.jobs.routes.read_status_bar", lambda _session: 1 / 0)
    response = admin.see("/jobs", 500)
    assert "500 Internal error." in words(response)
    assert "ZeroDivisionError" not in response.text


def test_a_form_that_is_too_large_is_refused(admin: Visitor) -> None:
    assert admin.press("/login", password="x" * 100_000).status_code == 413
