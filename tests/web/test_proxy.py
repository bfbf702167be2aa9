"""The client's address and scheme come from the headers of trusted proxies only."""

import pytest
import requests
from flask import Flask, jsonify, request
from flask.testing import FlaskClient

from spoils.web.hit_counter import RateLimit
from tests.programs import Web
from tests.web.conftest import MakeClient

ROUTER = "10.1.2.3"
HEROKU = {
    "DYNO": "web.1",
    "SPOILS_API_TOKEN": "fQ9mZ2vL7pXw4kRt8nBs",
    "SPOILS_ADMIN_PASSWORD": "ruhig-Brot-91-Kiesel",
    "SECRET_KEY": "kP0zV6jNq3uYb8mWd5sHe1xL",
}


def address(client: FlaskClient, peer: str, forwarded: str | None) -> str:
    """What the application takes for the client's address."""
    app: Flask = client.application
    if "where" not in app.view_functions:
        app._got_first_request = False
        app.add_url_rule("/where", "where", lambda: jsonify(request.remote_addr))
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client.get("/where", headers=headers, environ_base={"REMOTE_ADDR": peer}).get_json()


TRUSTING = {"FORWARDED_ALLOW_IPS": "10.0.0.0/8, 192.0.2.7"}


@pytest.mark.parametrize(
    ("environment", "peer", "forwarded", "expected"),
    [
        # On Heroku the last address is what the router wrote.
        (HEROKU, ROUTER, "203.0.113.9", "203.0.113.9"),
        (HEROKU, ROUTER, "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        (HEROKU, ROUTER, "127.0.0.1, 10.0.0.1,203.0.113.9", "203.0.113.9"),
        (HEROKU, ROUTER, "2001:db8::1", "2001:db8::1"),
        (HEROKU, ROUTER, "::ffff:203.0.113.9", "203.0.113.9"),
        (HEROKU, ROUTER, "203.0.113.9, nonsense", ROUTER),
        (HEROKU, ROUTER, "", ROUTER),
        (HEROKU, ROUTER, None, ROUTER),
        # Elsewhere the proxies of the setting are trusted,
        (TRUSTING, "10.9.9.9", "203.0.113.9", "203.0.113.9"),
        (TRUSTING, "10.9.9.9", "1.2.3.4, 203.0.113.9, 192.0.2.7, 10.0.0.1", "203.0.113.9"),
        (TRUSTING, "10.9.9.9", "10.0.0.2, 10.0.0.1", "10.0.0.2"),
        (TRUSTING, "198.51.100.1", "203.0.113.9", "198.51.100.1"),
        (TRUSTING, "127.0.0.1", "203.0.113.9", "127.0.0.1"),
        # and without it one on this machine.
        ({}, "127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ({}, "::1", "203.0.113.9", "203.0.113.9"),
        ({}, "10.0.0.1", "203.0.113.9", "10.0.0.1"),
    ],
)
def test_the_client_s_address_is_what_the_last_trusted_proxy_names(
    client_with: MakeClient, environment: dict[str, str], peer: str, forwarded: str | None, expected: str
) -> None:
    assert address(client_with(**environment), peer, forwarded) == expected


def test_failed_logins_and_the_api_s_rate_are_counted_by_that_address(client_with: MakeClient) -> None:
    client = client_with(**HEROKU)
    rate_limit = client.application.extensions["spoils_rate_limit"] = RateLimit(1, 24 * 3600)
    client.application.extensions["spoils_logins"] = RateLimit(1, 24 * 3600)
    sent = {"base_url": "https://localhost", "environ_base": {"REMOTE_ADDR": ROUTER}}

    def log_in(forwarded: str) -> int:
        page = client.get("/login", **sent).get_data(as_text=True)
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        fields = {"csrf_token": token, "password": "wrong"}
        return client.post("/login", data=fields, headers={"X-Forwarded-For": forwarded}, **sent).status_code

    # The address in front of the last one is what the client wrote.
    spoofed = ["9.9.9.9, 203.0.113.9", "203.0.113.7, 203.0.113.9", "203.0.113.9, 9.9.9.9"]
    assert [log_in(forwarded) for forwarded in spoofed] == [401, 429, 401]
    client.get("/api/jobs/status", headers={"X-Forwarded-For": "9.9.9.9, 203.0.113.9"}, **sent)
    assert (rate_limit.exceeded("203.0.113.9"), rate_limit.exceeded("9.9.9.9")) == (True, False)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("spoils.example", 200),
        ("SPOILS.example:443", 200),
        ("a.b.example.org", 200),
        ("[::1]:8000", 200),
        ("evil.example", 400),
        ("spoils.example.evil", 400),
        ("example.org", 400),
        ("notexample.org", 400),
        ("", 400),
    ],
)
def test_only_the_names_of_the_setting_are_answered(client_with: MakeClient, host: str, status: int) -> None:
    client = client_with(SPOILS_HOSTS="spoils.example, .example.org,[::1]")
    assert client.get("/api/jobs/status", headers={"Host": host}).status_code == status
    # The dashboard of this server is closed.
    assert client.get("/login", headers={"Host": host}).status_code == (503 if status == 200 else 400)
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.process
def test_gunicorn_takes_the_scheme_from_one_header_of_the_proxy_and_nothing_else(database_url: str) -> None:
    with Web(database_url) as web:

        def get(**headers: str) -> requests.Response:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            return requests.get(f"{web.url}/health", headers=sent, timeout=15)

        assert "Strict-Transport-Security" in get(X_Forwarded_Proto="https").headers
        for forged in ({"X_Forwarded_Ssl": "on"}, {"X_Forwarded_Protocol": "ssl"}):
            assert "Strict-Transport-Security" not in get(**forged).headers
        moved = requests.get(
            f"{web.url}/health",
            headers={"SCRIPT_NAME": "/elsewhere", "PATH_INFO": "/api/jobs/status"},
            timeout=15,
        )
        assert moved.json() == {"status": "ok"}
