"""The users of an application that mounts the dashboard: `authorize` says what each of them may do."""

from uuid import uuid4

import pytest
from flask import Request
from flask.testing import FlaskClient
from playwright.sync_api import Browser, expect
from werkzeug.exceptions import Forbidden

import spoils.web
from spoils.errors import SettingError
from tests.web.dashboard.conftest import ADMIN, LOCKED, MakeApp, serving
from tests.web.dashboard.pages import Visitor, words
from tests.web.dashboard.scenes import Scenes
from tests.web.dashboard.windows import Windows

REFRESH = "document.dispatchEvent(new Event('visibilitychange'))"
KEY = {"SECRET_KEY": LOCKED["SECRET_KEY"]}
ANSWERS: dict[str, str | tuple[str, str] | None] = {
    "ann": ("admin", "ann@shop.example"),
    "bob": ("viewer", "bob@shop.example"),
    "boss": "admin",
    "wrong": "superuser",
}


def by_cookie(request: Request) -> str | tuple[str, str] | None:
    """What the application knows of its user, here by a cookie."""
    name = request.cookies.get("user", "")
    if name == "refused":
        raise Forbidden("Ask the shop's manager.")
    if name == "broken":
        raise LookupError(name)
    return ANSWERS.get(name)


@pytest.fixture
def client(make_app: MakeApp) -> FlaskClient:
    return make_app(**KEY, authorize=by_cookie).test_client()


def user(client: FlaskClient, name: str) -> Visitor:
    client.set_cookie("user", name)
    return Visitor(client)


def test_an_admin_acts_and_the_audit_log_has_the_name(client: FlaskClient, scenes: Scenes) -> None:
    failed = scenes.full()["failed"]
    ann = user(client, "ann")
    assert "ann@shop.example" in words(ann.see("/jobs"))
    assert ann.press(f"/jobs/{failed}/retries").status_code == 303
    assert scenes.all("SELECT who, verb FROM spoils_audit WHERE task_id = :id", id=failed) == [
        ("ann@shop.example", "retry")
    ]
    assert "ann@shop.example" in words(ann.see("/audit"))
    assert "ann@shop.example" in words(ann.see(f"/jobs/{failed}"))


def test_a_role_without_a_name_is_audited_as_the_role(client: FlaskClient, scenes: Scenes) -> None:
    failed = scenes.full()["failed"]
    user(client, "boss").press(f"/jobs/{failed}/retries")
    assert scenes.value("SELECT who FROM spoils_audit WHERE task_id = :id", id=failed) == "admin"


def test_a_viewer_only_reads(client: FlaskClient, scenes: Scenes) -> None:
    failed = scenes.full()["failed"]
    fields = {"csrf_token": user(client, "ann").token()}
    user(client, "bob").see("/jobs")
    assert client.post(f"/jobs/{failed}/retries", data=fields).status_code == 403
    assert scenes.state(failed) == "failed"


def test_what_the_application_says_counts_for_each_request(client: FlaskClient, scenes: Scenes) -> None:
    failed = scenes.full()["failed"]
    ann = user(client, "ann")
    token = ann.token()
    client.set_cookie("user", "nobody")
    assert client.post(f"/jobs/{failed}/retries", data={"csrf_token": token}).status_code == 403
    assert scenes.state(failed) == "failed"


@pytest.mark.parametrize("fields", [{}, {"csrf_token": "made up"}])
def test_a_form_without_its_token_does_nothing(
    client: FlaskClient, scenes: Scenes, fields: dict[str, str]
) -> None:
    failed = scenes.full()["failed"]
    user(client, "ann").see("/jobs")
    assert client.post(f"/jobs/{failed}/retries", data=fields).status_code == 400
    assert scenes.state(failed) == "failed"


def test_a_form_of_another_site_does_nothing(client: FlaskClient, scenes: Scenes) -> None:
    failed = scenes.full()["failed"]
    fields = {"csrf_token": user(client, "ann").token()}
    headers = {"Origin": "https://evil.example"}
    assert client.post(f"/jobs/{failed}/retries", data=fields, headers=headers).status_code == 403
    assert scenes.state(failed) == "failed"


def test_nobody_gets_a_page_without_a_way_in(client: FlaskClient, scenes: Scenes) -> None:
    failed = scenes.full()["failed"]
    for path in ("/", f"/jobs/{failed}", "/api/docs"):
        response = Visitor(client).see(path, 403)
        assert "may not see this page" in words(response)
        assert "password" not in response.text
    for method, path in (("GET", "/login"), ("POST", "/login"), ("POST", "/logout")):
        assert client.open(path, method=method).status_code == 404


@pytest.mark.parametrize(
    ("login_url", "location"),
    [
        ("/users/login", "/users/login?next=%2Fqueue%2Fjobs%3Fstate%3Dfailed"),
        (
            "https://id.example/?app=shop",
            "https://id.example/?app=shop&next=%2Fqueue%2Fjobs%3Fstate%3Dfailed",
        ),
    ],
)
def test_nobody_is_led_to_the_application_s_login(make_app: MakeApp, login_url: str, location: str) -> None:
    client = make_app(**KEY, authorize=by_cookie, login_url=login_url).test_client()
    here = {"base_url": "http://localhost/queue"}
    response = client.get("/jobs?state=failed", **here)
    assert (response.status_code, response.headers["Location"]) == (303, location)
    long = client.get("/jobs", query_string={"q": "a" * 2_000}, **here)
    assert (long.status_code, long.headers["Location"]) == (303, login_url)
    # A form is not: the browser sends no form of ours to another origin.
    assert client.post(f"/jobs/{uuid4()}/retries", **here).status_code == 403


def test_authorize_may_refuse_with_a_sentence_of_its_own(client: FlaskClient) -> None:
    assert "Ask the shop's manager." in words(user(client, "refused").see("/jobs", 403))


@pytest.mark.parametrize("name", ["wrong", "broken"])
def test_an_answer_that_is_no_role_lets_nobody_in(client: FlaskClient, name: str) -> None:
    assert "Internal error" in words(user(client, name).see("/jobs", 500))


def test_the_passwords_of_the_settings_are_of_no_use(make_app: MakeApp, scenes: Scenes) -> None:
    scenes.full()
    client = make_app(**LOCKED, authorize=by_cookie).test_client()
    token = user(client, "ann").token()
    client.set_cookie("user", "nobody")
    assert client.post("/login", data={"csrf_token": token, "password": ADMIN}).status_code == 404
    Visitor(client).see("/jobs", 403)


def test_the_api_needs_a_token_even_for_open_classes(make_app: MakeApp, client: FlaskClient) -> None:
    for name in ("nobody", "ann"):
        user(client, name)
        assert client.get("/api/jobs/status").status_code == 401
        assert client.post("/api/jobs/fetch-product", json={"barcode": "737628064502"}).status_code == 401
    assert client.get("/health").status_code == 200
    assert client.get("/openapi.json").status_code == 200  # for those who may see the page of the API
    with_token = make_app(**KEY, SPOILS_API_TOKEN="t0ken", authorize=by_cookie).test_client()
    assert with_token.get("/api/jobs/status", headers={"Authorization": "Bearer t0ken"}).status_code == 200
    assert with_token.get("/openapi.json").status_code == 401


def test_without_a_key_for_its_forms_it_is_not_made() -> None:
    settings = {"DATABASE_URL": "postgresql://127.0.0.1:1/shop", "SPOILS_JOBS": "tests.sample_jobs"}
    with pytest.raises(SettingError, match="SECRET_KEY is not set"):
        spoils.web.create_app(settings, authorize=by_cookie)


@pytest.mark.browser
def test_an_open_page_stops_refreshing_when_its_user_has_logged_out(
    make_app: MakeApp, browser: Browser
) -> None:
    asked: list[str] = []

    def until_the_first_refresh(request: Request) -> str | None:
        asked.append(request.path)
        return "admin" if len(asked) == 1 else None

    # The login is on another origin, of which the page may load nothing.
    app = make_app(**KEY, authorize=until_the_first_refresh, login_url="http://login.example:1/")
    with serving(app) as url:
        windows = Windows(browser, url)
        page = windows.open("/jobs")
        with page.expect_response("**/jobs"):
            page.evaluate(REFRESH)
        page.evaluate(REFRESH)
        assert page.evaluate("fetch('/health').then((answer) => answer.status)") == 200
        expect(page.locator("h1")).to_have_text("Jobs")
        windows.close()
    assert (asked, windows.complaints) == (["/jobs", "/jobs"], [])
