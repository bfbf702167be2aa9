"""The pages that a person sees when something is wrong."""

import pytest

from tests.web.dashboard.pages import Visitor, words

NOBODY = "postgresql://nobody@127.0.0.1:1/none"


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
