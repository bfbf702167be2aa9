"""Access: closed by default, read-only for a viewer, full for an admin; logins and sessions."""

import time
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import Connection, text

from spoils.builtin.cleanup import LOGOUTS_KEPT_DAYS
from spoils.queue import prune
from tests.web.dashboard.conftest import ADMIN, LOCKED, VIEWER, MakeApp
from tests.web.dashboard.pages import Visitor, actions, words
from tests.web.dashboard.scenes import NOODLES, Scenes


def test_a_password_without_a_key_for_sessions_leaves_it_closed(make_app: MakeApp) -> None:
    response = make_app(SPOILS_ADMIN_PASSWORD=ADMIN).test_client().get("/jobs")
    assert response.status_code == 503
    assert "no SECRET_KEY" in words(response)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000", "[::1]"]
)
def test_development_is_open_on_this_machine(make_app: MakeApp, host: str) -> None:
    client = make_app(development=True).test_client()
    assert client.get("/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("spoils.example", "127.0.0.1"),  # a name elsewhere that was pointed here
        ("localhost.evil.example", "127.0.0.1"),
        ("192.168.0.7:8000", "127.0.0.1"),
        ("localhost", "192.168.0.7"),
        ("localhost", "2001:db8::1"),
    ],
)
def test_development_is_closed_to_everybody_else(make_app: MakeApp, host: str, address: str) -> None:
    client = make_app(development=True).test_client()
    response = client.get("/jobs", headers={"Host": host}, environ_base={"REMOTE_ADDR": address})
    assert response.status_code == 503


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP"])
def test_development_is_closed_to_what_a_tunnel_on_this_machine_passes_on(
    make_app: MakeApp, header: str
) -> None:
    # Some tunnels write the name of this machine for the public one.
    client = make_app(development=True).test_client()
    for path, refused in (("/jobs", 503), (f"/api/jobs/{uuid4()}", 401)):
        assert client.get(path, headers={"Host": "localhost", header: "203.0.113.9"}).status_code == refused


def test_development_with_a_password_needs_it(make_app: MakeApp) -> None:
    client = make_app(development=True, SPOILS_ADMIN_PASSWORD=ADMIN).test_client()
    assert client.get("/jobs").status_code == 303
    assert Visitor(client).log_in(ADMIN).see("/jobs").status_code == 200


def test_a_visitor_is_sent_to_log_in_and_then_back(stranger: Visitor) -> None:
    response = stranger.client.get("/jobs?state=failed&type=a+b")
    assert response.status_code == 303
    assert response.location == "/login?next=/jobs?state%3Dfailed%26type%3Da%2Bb"
    response = stranger.press("/login", password=ADMIN, next="/jobs?state=failed&type=a+b")
    assert (response.status_code, response.location) == (303, "/jobs?state=failed&type=a+b")


@pytest.mark.parametrize("asked", ["/jobs?" + "a=1&" * 500, "/jobs?q=" + "é" * 200, "/jobs?" + "%26" * 600])
def test_the_head_of_an_answer_to_a_stranger_fits_a_proxy_however_long_the_address(
    stranger: Visitor, asked: str
) -> None:
    # nginx answers with 502 where the head has more than 4 KiB.
    for response in (stranger.client.get(asked), stranger.press("/login", password=ADMIN, next=asked)):
        assert response.status_code == 303
        assert len(str(response.headers)) < 4_000


@pytest.mark.parametrize("onward", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_logging_in_never_leaves_the_site(stranger: Visitor, onward: str) -> None:
    assert stranger.press("/login", password=ADMIN, next=onward).location == "/"
    assert stranger.client.get("/login", query_string={"next": onward}).location == "/"


@pytest.mark.parametrize(
    "password", ["", "wrong", ADMIN.upper(), ADMIN + " ", VIEWER + ADMIN, "\udcff", "é" * 9_000]
)
def test_a_wrong_password_is_refused(stranger: Visitor, password: str) -> None:
    sent = password.encode("utf-8", "surrogateescape")
    response = stranger.client.post("/login", data={"csrf_token": stranger.token(), "password": sent})
    assert response.status_code == 401
    assert "Wrong password." in words(response)


def test_after_ten_wrong_passwords_the_right_one_waits_too(stranger: Visitor) -> None:
    for _ in range(10):
        assert stranger.press("/login", password="wrong").status_code == 401
    response = stranger.press("/login", password=ADMIN)
    assert response.status_code == 429
    assert "Too many failed logins" in words(response)


def test_failed_logins_are_limited_per_64_bit_network_of_ipv6(stranger: Visitor) -> None:
    def attempt(address: str) -> int:
        fields = {"csrf_token": stranger.token(), "password": "wrong"}
        return stranger.client.post("/login", data=fields, environ_base={"REMOTE_ADDR": address}).status_code

    assert [attempt(f"2001:db8:1:2::{number:x}") for number in range(10)] == [401] * 10
    assert attempt("2001:db8:1:2:ffff::1") == 429
    assert attempt("2001:db8:1:3::1") == 401


def test_the_session_of_before_ends_at_login(locked: Flask) -> None:
    visitor = Visitor(locked.test_client())
    token = visitor.token()
    visitor.log_in(ADMIN)
    assert visitor.client.post("/logout", data={"csrf_token": token}).status_code == 400


def test_the_session_is_closed_to_scripts_other_sites_and_plain_http(stranger: Visitor) -> None:
    response = stranger.press("/login", password=ADMIN)
    cookie = response.headers["Set-Cookie"]
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Expires=" in cookie
    assert ADMIN not in cookie


def copy_of(visitor: Visitor, app: Flask | None = None) -> Visitor:
    """Somebody with the same cookie, as it is now; at another application where one is given."""
    cookie = visitor.client.get_cookie("spoils_session")
    assert cookie is not None
    other = (app or visitor.client.application).test_client()
    other.set_cookie("spoils_session", cookie.value)
    return Visitor(other)


def test_logging_out_ends_every_copy_of_the_cookies_of_that_login_and_no_other_login(
    locked: Flask, admin: Visitor, scenes: Scenes
) -> None:
    task_id = scenes.task(state="failed")
    other_login = Visitor(locked.test_client()).log_in(ADMIN)
    early = copy_of(admin)
    admin.see("/jobs")  # gives the cookie a new signature
    late = copy_of(admin)
    for visitor in (early, late):
        assert visitor.client.get("/openapi.json").status_code == 200
    admin.press("/logout")
    for visitor in (early, late):
        assert visitor.see("/jobs", 303).location.startswith("/login")
        assert visitor.see("/api/docs", 303).location.startswith("/login")
        assert visitor.client.get("/openapi.json").status_code == 401
        pressed = visitor.press(f"/jobs/{task_id}/retries")
        assert (pressed.status_code, pressed.location) == (303, "/login")
        # The cookie that a second logout sets is no login either.
        assert visitor.press("/logout").status_code == 303
        assert visitor.see("/jobs", 303).location.startswith("/login")
    assert scenes.state(task_id) == "failed"
    other_login.see("/jobs")
    assert admin.log_in(ADMIN).see("/jobs").status_code == 200


def test_logging_in_ends_the_login_of_before(viewer: Visitor) -> None:
    copied = copy_of(viewer)
    token = viewer.token()
    logged_in = viewer.client.post("/login", data={"csrf_token": token, "password": ADMIN})
    assert logged_in.status_code == 303
    assert copied.see("/jobs", 303).location.startswith("/login")
    viewer.see("/jobs")


def test_an_expired_cookie_does_not_stop_a_login_while_the_database_is_read_only(
    locked: Flask, connection: Connection
) -> None:
    database = connection.scalar(text("SELECT current_database()"))
    connection.execute(text(f"ALTER DATABASE {database} SET default_transaction_read_only = on"))
    try:
        visitor = Visitor(locked.test_client()).log_in(ADMIN)
        with visitor.client.session_transaction() as session:
            session["until"] = 0
        assert visitor.log_in(ADMIN).see("/jobs").status_code == 200
    finally:
        connection.execute(text(f"ALTER DATABASE {database} RESET default_transaction_read_only"))


def test_a_session_of_a_release_whose_logins_could_not_be_ended_is_refused(admin: Visitor) -> None:
    with admin.client.session_transaction() as session:
        del session["login"]
    assert admin.see("/jobs", 303).location.startswith("/login")


def test_a_logout_is_forgotten_when_its_cookies_have_ended_by_themselves(
    admin: Visitor, connection: Connection
) -> None:
    copied = copy_of(admin)
    admin.press("/logout")
    age = text("UPDATE spoils_logouts SET at = now() - CAST(:age AS interval)")
    connection.execute(age, {"age": "12 hours 10 minutes"})
    assert prune.prune_logouts(connection, days=LOGOUTS_KEPT_DAYS) == 0
    copied.see("/jobs", 303)
    connection.execute(age, {"age": "24 hours 10 minutes"})
    assert prune.prune_logouts(connection, days=LOGOUTS_KEPT_DAYS) == 1


def test_while_the_database_is_away_a_session_gets_a_page_that_says_so(
    make_app: MakeApp, admin: Visitor
) -> None:
    token = admin.token()
    away = make_app(**{**LOCKED, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    assert Visitor(away.test_client()).press("/login", password=ADMIN).status_code == 303
    client = copy_of(admin, away).client
    for path in ("/jobs", "/products", f"/jobs/{uuid4()}", "/login", "/api/docs", "/openapi.json"):
        response = client.get(path)
        assert response.status_code == 503, path
        assert "The database does not answer." in words(response)
    # The login has not ended, so the cookie stays.
    assert client.post("/logout", data={"csrf_token": token}).status_code == 503
    # Pages of errors that need no database do not fail in turn.
    assert client.get("/nothing").status_code == 404
    assert client.post("/logout").status_code == 400
    assert client.get("/jobs").status_code == 503


def test_a_session_ends_12_hours_after_its_login_whatever_was_asked_meanwhile(admin: Visitor) -> None:
    with admin.client.session_transaction() as session:
        session["until"] -= 12 * 3600 - 60
    admin.see("/jobs")  # a minute is left, and no request adds to it
    with admin.client.session_transaction() as session:
        assert session["until"] <= time.time() + 60
        session["until"] -= 60
    assert admin.see("/jobs", 303).location.startswith("/login")


def test_a_session_ends_when_its_password_is_changed(make_app: MakeApp, admin: Visitor) -> None:
    copy_of(admin, make_app(**{**LOCKED, "SPOILS_ADMIN_PASSWORD": "another"})).see("/jobs", 303)
    copy_of(admin, make_app(**LOCKED)).see("/jobs")


def test_a_viewer_sees_every_page_without_an_action(viewer: Visitor, scenes: Scenes) -> None:
    jobs = scenes.full()
    scenes.attempt(jobs["failed"], 2, "failed", fingerprint="abc")
    for path in (
        *("/jobs", f"/jobs/{jobs['failed']}", "/products", f"/products/{NOODLES}", "/errors", "/errors/abc"),
        *("/enqueue", "/enqueue/fetch-product", "/workers", "/schedules", "/audit"),
        "/bulks/new?verb=delete&all=1&state=failed",
    ):
        page = viewer.see(path)
        # The form to enqueue a job is shown without its button.
        assert set(actions(page)) - {"/enqueue/fetch-product"} == {"/logout"}, path
        assert 'action="/bulks' not in page.text, path
        assert 'type="checkbox"' not in page.text, path
        assert "Enqueue fetch_product</button>" not in page.text, path


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://localhost"}, {"Origin": "https://LOCALHOST"}, {"Sec-Fetch-Site": "same-origin"}, {}],
)
def test_a_form_from_here_is_taken(admin: Visitor, scenes: Scenes, headers: dict[str, str]) -> None:
    task_id = scenes.task(state="failed")
    admin.client.post(f"/jobs/{task_id}/retries", data={"csrf_token": admin.token()}, headers=headers)
    assert scenes.state(task_id) == "new"
