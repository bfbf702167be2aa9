"""People of SPOILS_USERS: logging in by name, what ends their sessions, and their names in the audit log."""

import pytest
from flask import Flask
from werkzeug.security import generate_password_hash

from tests.rows import Rows
from tests.web.dashboard.conftest import ADMIN, LOCKED, MakeApp
from tests.web.dashboard.pages import Visitor, words
from tests.web.dashboard.test_access import copy_of

ANNA, BEN = "ruhig-Brot-91-Kiesel", "lauter-Topf-17-Moos"
KEY = {"SECRET_KEY": LOCKED["SECRET_KEY"]}


def entry(name: str, role: str, password: str) -> str:
    """An entry of the setting, with the cheapest hash that it takes."""
    return f"{name}:{role}:{generate_password_hash(password, 'scrypt:16384:8:1')}"


ANNA_ADMIN, BEN_VIEWER = entry("anna", "admin", ANNA), entry("ben@shop.example", "viewer", BEN)
USERS = f"{ANNA_ADMIN}\n{BEN_VIEWER}"


@pytest.fixture
def named(make_app: MakeApp) -> Flask:
    return make_app(**KEY, SPOILS_USERS=USERS)


def test_a_person_logs_in_by_name_with_the_role_of_the_setting(named: Flask, rows: Rows) -> None:
    failed = rows.task(state="failed")
    anna = Visitor(named.test_client()).log_in(ANNA, name="anna")
    ben = Visitor(named.test_client()).log_in(BEN, name="ben@shop.example")
    assert "anna, admin" in words(anna.see("/jobs"))
    assert ben.press(f"/jobs/{failed}/retries").status_code == 403
    assert anna.press(f"/jobs/{failed}/retries").status_code == 303
    assert rows.all("SELECT who, verb FROM spoils_audit") == [("anna", "retry")]


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna", BEN),
        ("Anna", ANNA),
        ("carol", ANNA),
        ("", ANNA),
        ("anna", ""),
        ("a" * 9_000, ANNA),
        ("anna", "\udcff"),
    ],
)
def test_another_name_or_password_is_refused(named: Flask, name: str, password: str) -> None:
    visitor = Visitor(named.test_client())
    sent = {
        "csrf_token": visitor.token(),
        "name": name,
        "password": password.encode("utf-8", "surrogateescape"),
    }
    response = visitor.client.post("/login", data=sent)
    assert response.status_code == 401
    assert "Wrong name or password." in words(response)


def test_the_shared_passwords_stay_beside_the_names(make_app: MakeApp, rows: Rows) -> None:
    app = make_app(**LOCKED, SPOILS_USERS=USERS)
    shared = Visitor(app.test_client()).log_in(ADMIN, name="")
    shared.press(f"/jobs/{rows.task(state='failed')}/retries")
    assert rows.value("SELECT who FROM spoils_audit") == "admin"
    assert Visitor(app.test_client()).press("/login", name="anna", password=ADMIN).status_code == 401
    # The hash itself is no password.
    leaked = ANNA_ADMIN.removeprefix("anna:admin:")
    assert Visitor(app.test_client()).press("/login", name="", password=leaked).status_code == 401


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(BEN_VIEWER, id="removed"),
        pytest.param(f"{entry('anna', 'admin', ANNA)} {BEN_VIEWER}", id="another hash"),
        pytest.param(f"{ANNA_ADMIN.replace(':admin:', ':viewer:')},{BEN_VIEWER}", id="another role"),
    ],
)
def test_a_session_ends_when_its_person_is_removed_or_changed(
    make_app: MakeApp, named: Flask, changed: str
) -> None:
    anna = Visitor(named.test_client()).log_in(ANNA, name="anna")
    ben = Visitor(named.test_client()).log_in(BEN, name="ben@shop.example")
    later = make_app(**KEY, SPOILS_USERS=changed)
    copy_of(anna, later).see("/jobs", 303)
    copy_of(ben, later).see("/jobs")
    copy_of(anna, make_app(**KEY, SPOILS_USERS=USERS)).see("/jobs")


def test_logging_out_ends_a_person_s_copied_cookies(named: Flask) -> None:
    anna = Visitor(named.test_client()).log_in(ANNA, name="anna")
    copied = copy_of(anna)
    anna.press("/logout")
    copied.see("/jobs", 303)


@pytest.mark.parametrize("name", ["anna", "nobody-of-this-name"])
def test_failed_logins_are_limited_by_name_whatever_the_addresses(named: Flask, name: str) -> None:
    visitor = Visitor(named.test_client())
    token = visitor.token()

    def attempt(number: int, name: str, password: str) -> int:
        fields = {"csrf_token": token, "name": name, "password": password}
        address = {"REMOTE_ADDR": f"192.0.2.{number}"}
        return visitor.client.post("/login", data=fields, environ_base=address).status_code

    assert [attempt(number, name, "wrong") for number in range(10)] == [401] * 10
    assert attempt(11, name, ANNA) == 429
    assert attempt(11, "ben@shop.example", BEN) == 303


def test_the_login_page_asks_for_a_name_only_where_people_have_one(make_app: MakeApp, named: Flask) -> None:
    assert 'name="name"' in named.test_client().get("/login").text
    assert 'name="name"' not in make_app(**LOCKED).test_client().get("/login").text
    no_key = make_app(SPOILS_USERS=USERS).test_client().get("/login")
    assert (no_key.status_code, "no SECRET_KEY" in words(no_key)) == (503, True)


def test_with_the_users_of_an_application_its_own_people_do_not_log_in(make_app: MakeApp) -> None:
    app = make_app(**KEY, SPOILS_USERS=USERS, authorize=lambda _: None)
    assert app.test_client().get("/login").status_code == 404
