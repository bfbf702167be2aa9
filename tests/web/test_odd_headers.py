"""Malformed headers are refused with a sentence, and never cause a 500."""

import pytest
from flask.testing import FlaskClient
from werkzeug.test import create_environ, run_wsgi_app

from tests.web.conftest import MakeClient

LONG = "a" * 300
ODD = {
    "HTTP_HOST": (
        *("..", "a..b", ".a", "a.", f"{'a' * 64}.b", LONG, "[", "[::1", "]", "[::1]:x", "a:b", "a:99999", "a:-1"),
        *("", "a b", "a/b", "a@b", ":80", "\x7f", "127.0.0.1:8000:9", "%zz", "xn--a", "xn--\xff", "\xe9.b"),
    ),
    "HTTP_ORIGIN": (
        *("http://[", "http://]", "http://[::1", "http://[1.2.3]", "http://[v1.x]", "http://a:b", "http://a:99999"),
        *("//", "null", "\xff", "", "http://\xe2\x84\x80.com"),
    ),
    "HTTP_SEC_FETCH_SITE": ("\xff", ""),
    "HTTP_X_FORWARDED_FOR": ("[", ",", "a,,b", "1.2.3.4:80", "\xff", " "),
    "HTTP_X_FORWARDED_PROTO": ("x", "\xff"),
    "HTTP_AUTHORIZATION": ("Basic x", "Bearer", "Bearer \xff", "Digest a=", "Basic \xff", "\x7f", ""),
    "HTTP_COOKIE": (
        *("spoils_session=a.b.c", "a;b;;", "\xff=\xff", 'spoils_session="', "=", "spoils_session=."),
        f"spoils_session=eyJ.{LONG}",
    ),
    "HTTP_ACCEPT": ("*", "q=x", ";", "text/html;q=nan"),
    "HTTP_ACCEPT_ENCODING": ("gzip;q=x", "\xff"),
    "HTTP_IF_NONE_MATCH": ("W/", '"', "*", "\xff"),
    "HTTP_IF_MODIFIED_SINCE": ("x", "Mon, 99 Feb 99999 99:99:99 GMT"),
    "HTTP_RANGE": ("bytes=", "bytes=-", "bytes=9-1", "bytes=a-b", "x", "bytes=0-0,1-1", "bytes=--5", "bytes=\xb2-"),
    "HTTP_IDEMPOTENCY_KEY": ("", "\xff", "a" * 9999, "\x01"),
    "HTTP_REFERER": ("http://[",),
    "HTTP_X_CSRFTOKEN": ("\xff",),
    "CONTENT_TYPE": (
        *("application/json; charset=x", "multipart/form-data", "multipart/form-data; boundary=", "/", ";"),
        *("multipart/form-data; boundary=\xff", "application/x-www-form-urlencoded; charset=utf-99"),
    ),
    "CONTENT_LENGTH": ("x", "-1", "\xb2", "9" * 21),
    # What gunicorn says of a client that came through a Unix socket.
    "REMOTE_ADDR": ("",),
    **dict.fromkeys(("HTTP_FORWARDED", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_REAL_IP"), ()),
    **dict.fromkeys(("HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE", "HTTP_ACCEPT_LANGUAGE"), ()),
    **dict.fromkeys(("HTTP_USER_AGENT", "HTTP_EXPECT", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_ENCODING"), ()),
}  # fmt: skip
ODD_ANYWHERE = ("", "\0", "a\0b", "[", "a..b", "\xe9\xff", "a" * 8192, "," * 8192)
ASKED = [
    *(("GET", path) for path in ("/", "/jobs", "/login", "/nothing", "/health", "/openapi.json", "/api/docs")),
    *(("GET", path) for path in ("/api/jobs/status", "/static/base.css", "/static/nothing")),
    *(("POST", path) for path in ("/login", "/logout", "/bulk", "/nothing", "/api/jobs", "/api/jobs/batch")),
    ("POST", "/api/jobs/fetch-product"),
]  # fmt: skip
ASKED_BRIEFLY = [
    *(("GET", path) for path in ("/jobs", "/health", "/openapi.json", "/static/base.css", "/nothing")),
    *(("POST", path) for path in ("/login", "/api/jobs/batch", "/api/jobs/fetch-product")),
]


@pytest.fixture(params=["development", "behind a proxy, with passwords"])
def client(request: pytest.FixtureRequest, client_with: MakeClient) -> FlaskClient:
    if request.param == "development":
        return client_with(development=True)
    return client_with(
        SPOILS_ADMIN_PASSWORD="correct horse",
        SECRET_KEY="not much of a secret",
        FORWARDED_ALLOW_IPS="*",
        SPOILS_API_TOKEN="t0ken",
    )


@pytest.mark.parametrize("name", ODD)
def test_an_odd_header_is_never_a_500(client: FlaskClient, name: str) -> None:
    tried = [(value, asked) for value in ODD[name] for asked in ASKED]
    tried += [(value, asked) for value in ODD_ANYWHERE for asked in ASKED_BRIEFLY]
    for value, (method, path) in tried:
        environ = create_environ(path, method=method, data=b"{}" if method == "POST" else None)
        if path.startswith("/api"):
            # So that the request is not refused before the other headers are looked at.
            environ |= {"CONTENT_TYPE": "application/json", "HTTP_AUTHORIZATION": "Bearer t0ken"}
        # Not by the client, which takes the Host header apart itself.
        body, status, _ = run_wsgi_app(client.application, {**environ, name: value})
        if hasattr(body, "close"):
            body.close()
        # A closed dashboard answers 503.
        assert status[:3] == "503" or status < "500", (method, path, value, status)


@pytest.mark.parametrize("path", ["/login", "/api/jobs/fetch-product"])
@pytest.mark.parametrize("origin", ["http://[", "http://]", "http://[::1"])
def test_an_invalid_origin_is_refused_with_a_sentence(client: FlaskClient, path: str, origin: str) -> None:
    answer = client.post(
        path, headers={"Origin": origin, "Authorization": "Bearer t0ken"}, base_url="http://127.0.0.1"
    )
    assert answer.status_code == 400
    assert "The Origin header is not a valid origin." in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/login", "/nothing", "/static/nothing", "/health", "/api/jobs/status"]
)
@pytest.mark.parametrize("host", ["..", "a..b", f"{'a' * 64}.b"])
def test_an_invalid_host_is_refused_with_a_sentence(client: FlaskClient, path: str, host: str) -> None:
    answer = client.get(path, environ_overrides={"HTTP_HOST": host})
    assert answer.status_code == 400
    assert answer.get_json() == {"error": "The Host header is not a valid host name."}
