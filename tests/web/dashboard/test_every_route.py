"""What holds for every route: authentication, headers, and no change without permission.

The routes come from the application itself, so that one that is added tomorrow is tried too.
"""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.web.dashboard.conftest import ADMIN, LOCKED, VIEWER, MakeApp
from tests.web.dashboard.pages import Visitor, words
from tests.web.dashboard.routes import Route, everything, routes
from tests.web.dashboard.scenes import Scenes

TOKEN = "t0ken"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
OPEN_TO_ALL = {"api.health.health"}
OPEN_IN_THE_GUIDE = {"api.jobs.create", "api.jobs.status", "api.products.show"}
SESSION = {"dashboard.login", "dashboard.log_in", "dashboard.log_out"}
FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost:9999"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)
NO_FORMS = ("application/json", "text/plain", "application/xml", "application/octet-stream")
NO_JSON = (*NO_FORMS[1:], "application/x-www-form-urlencoded", "multipart/form-data", "json")


@pytest.fixture
def failed(scenes: Scenes) -> UUID:
    """The id of a failed job, in a database where every page has something to show."""
    return scenes.full()["failed"]


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app(**LOCKED, SPOILS_API_TOKEN=TOKEN)


def writes(app: Flask, failed: UUID) -> list[Route]:
    """The routes that change something."""
    found = [route for route in routes(app, failed) if route.writes]
    assert len(found) >= 15
    return found


def open_route(client: FlaskClient, route: Route, **more: Any) -> TestResponse:
    return client.open(path=route.path, buffered=True, **{"method": route.method, **more})


@pytest.fixture
def unchanged(scenes: Scenes, failed: UUID) -> Iterator[Callable[[Route], None]]:
    """Check that no table has changed since the test began; called once more when it ends."""
    before = everything(scenes)

    def check(route: Route | None = None) -> None:
        after = everything(scenes)
        assert after == before, (str(route), {name for name in after if after[name] != before.get(name)})

    yield check
    check()


def refused(response: TestResponse, route: Route, *statuses: int) -> None:
    assert response.status_code in statuses, (str(route), response.status_code, response.text[:300])


def test_without_password_and_token_all_is_closed_but_what_the_guide_has_open(
    make_app: MakeApp, failed: UUID
) -> None:
    client = make_app().test_client()
    for route in routes(client.application, failed):
        response = open_route(client, route)
        if route.endpoint in OPEN_TO_ALL | OPEN_IN_THE_GUIDE:
            assert response.status_code < 500, route
        elif route.api:
            refused(response, route, 401)
        else:
            refused(response, route, 503)
            assert "SPOILS_ADMIN_PASSWORD" in words(response)


def test_with_both_set_a_stranger_gets_nowhere(
    app: Flask, failed: UUID, unchanged: Callable[[Route], None]
) -> None:
    client = app.test_client()
    token = Visitor(client).token()
    for route in routes(app, failed):
        sent = {"data": {"csrf_token": token}} if route.writes and not route.api else {}
        response = open_route(client, route, **sent)
        if route.endpoint in OPEN_TO_ALL | {"dashboard.login"}:
            assert response.status_code == 200, route
        elif route.api or route.endpoint == "dashboard.log_in":
            refused(response, route, 401)
        else:
            refused(response, route, 303)
            assert response.location.startswith("/login"), route


def test_a_session_of_the_dashboard_opens_nothing_of_the_api_but_its_document(
    app: Flask, failed: UUID, unchanged: Callable[[Route], None]
) -> None:
    client = Visitor(app.test_client()).log_in(ADMIN).client
    for route in routes(app, failed):
        if route.api and route.endpoint not in OPEN_TO_ALL:
            response = open_route(client, route, json={} if route.writes else None)
            refused(response, route, 200 if route.endpoint == "api.document.openapi" else 401)


def test_no_get_changes_anything(app: Flask, failed: UUID, unchanged: Callable[[Route], None]) -> None:
    client = Visitor(app.test_client()).log_in(ADMIN).client
    for route in routes(app, failed):
        if not route.writes:
            response = open_route(client, route, headers=BEARER)
            assert response.status_code < 500, route
        elif not route.api and not any(
            each.path == route.path for each in routes(app, failed) if not each.writes
        ):
            refused(open_route(client, route, method="GET"), route, 405)


BY_ACTION: dict[str, tuple[str, object]] = {
    # An action, with the state of the job that it is for and the body, if they are not (failed, nothing).
    "dashboard.cancel_job": ("new", {}),
    "dashboard.run_job_now": ("retried", {}),
    "dashboard.begin_bulk": (
        "failed",
        {"verb": "retry", "state": "failed", "all": "1", "until": "2100-01-01T00:00Z"},
    ),
    "dashboard.pause_type": ("failed", {"type": "fetch_product"}),
    "dashboard.enqueue_job": ("failed", {"field.barcode": "4006381333931"}),
    "dashboard.edit_job": ("failed", {"field.barcode": "4006381333931"}),
    "dashboard.begin_mend": (
        "failed",
        {
            "state": "failed",
            "all": "1",
            "until": "2100-01-01T00:00Z",
            "field": "barcode",
            "value": "4006381333931",
        },
    ),
    "dashboard.create_schedule": (
        "failed",
        {"name": "nightly", "cron": "0 2 * * *", "field.barcode": "4006381333931"},
    ),
    "dashboard.change_schedule": ("failed", {"cron": "0 3 * * *", "field.barcode": "4006381333931"}),
    "dashboard.make_token": ("failed", {"name": "ci", "scope": "read"}),
    "api.jobs.create_any": ("failed", {"type": "CleanupJob"}),
    "api.schedules.create": ("failed", {"name": "weekly", "job": "CleanupJob", "cron": "0 2 * * 0"}),
    "api.schedules.change": ("failed", {"cron": "0 4 * * *"}),
    "api.jobs.create_batch": ("failed", [{"type": "CleanupJob"}]),
    "api.jobs.create": ("failed", {"barcode": "4006381333931"}),
    "api.jobs.cancel": ("new", {}),
    "api.jobs.run_now": ("retried", {}),
}
# These undo another action, or need the key of a worker or a group; each is tested with its page.
NEED_ANOTHER = {
    "dashboard.restore_job",
    "dashboard.revert_job",
    "dashboard.restore_bulk",
    "dashboard.resume_type",
    "dashboard.resume_schedule",
    "dashboard.resume_runtime_schedule",
    "dashboard.try_one",
    "dashboard.revoke_token",
    "dashboard.drain_worker",
    "dashboard.undrain_worker",
}


def test_what_is_refused_above_is_done_for_an_admin(app: Flask, scenes: Scenes, failed: UUID) -> None:
    visitor = Visitor(app.test_client()).log_in(ADMIN)
    token = visitor.token()
    for route in writes(app, failed):
        if route.endpoint in SESSION | NEED_ANOTHER:
            continue
        scenes.connection.exec_driver_sql("TRUNCATE fang_tasks, spoils_attempts, products CASCADE")
        jobs = scenes.full()
        state, sent = BY_ACTION.get(route.endpoint, ("failed", {}))
        before = everything(scenes)
        response = visitor.client.open(
            path=route.path.replace(str(failed), str(jobs[state])),
            buffered=True,
            method=route.method,
            **(
                {"json": sent, "headers": BEARER}
                if route.api
                else {"data": {"csrf_token": token, **dict(sent)}}
            ),
        )
        assert response.status_code in (200, 201, 202, 204, 303), (str(route), response.text[:300])
        assert everything(scenes) != before, str(route)


def test_a_form_without_its_token_or_with_another_changes_nothing(
    app: Flask, failed: UUID, unchanged: Callable[[Route], None]
) -> None:
    client = Visitor(app.test_client()).log_in(ADMIN).client
    other = Visitor(app.test_client()).token()
    for route in [route for route in writes(app, failed) if not route.api]:
        for fields in ({}, {"csrf_token": "made up"}, {"csrf_token": other}):
            refused(open_route(client, route, data=fields), route, 400)
        assert open_route(client, route).status_code == 400, route


def test_a_request_from_another_site_changes_nothing(
    app: Flask, failed: UUID, unchanged: Callable[[Route], None]
) -> None:
    visitor = Visitor(app.test_client()).log_in(ADMIN)
    token = visitor.token()
    for route in writes(app, failed):
        sent = {"json": {}} if route.api else {"data": {"csrf_token": token}}
        for headers in FOREIGN:
            response = open_route(visitor.client, route, headers={**BEARER, **headers}, **sent)
            refused(response, route, 403)


def test_a_body_of_another_type_changes_nothing(
    app: Flask, failed: UUID, unchanged: Callable[[Route], None]
) -> None:
    client = Visitor(app.test_client()).log_in(ADMIN).client
    token = Visitor(client).token()
    for route in writes(app, failed):
        for kind in (*NO_JSON,) if route.api else NO_FORMS:
            headers = {**BEARER, "X-CSRFToken": token}
            data = b'{"barcode": "4006381333931"}'
            response = open_route(client, route, data=data, content_type=kind, headers=headers)
            refused(response, route, 415)


def test_a_viewer_changes_nothing(app: Flask, failed: UUID, unchanged: Callable[[Route], None]) -> None:
    visitor = Visitor(app.test_client()).log_in(VIEWER)
    token = visitor.token()
    for route in writes(app, failed):
        if route.endpoint in SESSION:
            continue
        sent = {"json": {}} if route.api else {"data": {"csrf_token": token}}
        refused(
            open_route(visitor.client, route, **sent),
            route,
            401 if route.api else 403,
        )


def test_every_answer_has_its_headers_errors_too(app: Flask, make_app: MakeApp, failed: UUID) -> None:
    admin, stranger = Visitor(app.test_client()).log_in(ADMIN).client, app.test_client()
    closed = make_app().test_client()
    beyond = [
        Route("", "GET", path) for path in ("/nothing", "/api/nothing", "/static/nothing", "/jobs/x", "//")
    ]
    for route in [*routes(app, failed), *beyond]:
        for client, headers in ((admin, BEARER), (stranger, {}), (closed, {})):
            for method in (route.method, "HEAD", "TRACE"):
                if route.endpoint in SESSION and client is admin and method == "POST":
                    continue
                check_headers(client, route, method, headers)


def check_headers(client: FlaskClient, route: Route, method: str, headers: dict[str, str]) -> None:
    # Over https, as it is on the internet.
    response = open_route(client, route, method=method, headers=headers, base_url="https://localhost")
    told, place = response.headers, f"{method} {route.path} {response.status_code}"
    assert response.status_code != 500, place
    policy = told["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; "), place
    assert "unsafe" not in policy, place
    assert "frame-ancestors 'none'" in policy, place
    assert told["X-Frame-Options"] == "DENY", place
    assert told["X-Content-Type-Options"] == "nosniff", place
    assert told["Referrer-Policy"] == "same-origin", place
    assert told["Strict-Transport-Security"].startswith("max-age="), place
    cache = told["Cache-Control"]
    if (
        route.endpoint in ("dashboard.login", "dashboard.log_in", "dashboard.log_out")
        and response.status_code != 405
    ):
        assert "no-store" in cache, place
    elif route.path.startswith("/api/") and route.path != "/api/docs":
        assert cache == "no-store", place
    else:
        assert "no-cache" in cache or "no-store" in cache, place
    assert "Set-Cookie" not in told or "Secure; HttpOnly" in told["Set-Cookie"], place
