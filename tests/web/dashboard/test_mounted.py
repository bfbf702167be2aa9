"""The dashboard and the API under a prefix of another application, beside that application's own pages and session."""

import re
import subprocess
import sys
from html import unescape
from uuid import UUID

import pytest
from flask import Flask, session
from flask.testing import FlaskClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import spoils.web
from spoils.errors import JobDefinitionError, SettingError
from tests.web.dashboard.conftest import ADMIN, LOCKED, MakeApp
from tests.web.dashboard.pages import Visitor, words
from tests.web.dashboard.routes import routes
from tests.web.dashboard.scenes import Scenes

PREFIX = "/queue"
TOKEN = "t0ken"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
_ADDRESS = re.compile(r'(?:href|src|action|value)="(/[^"]*)"')
_COMMAND = re.compile(r"curl (?:-X [A-Z]+ )?(http\S+)")


@pytest.fixture
def queue(make_app: MakeApp) -> Flask:
    return make_app(**LOCKED, SPOILS_API_TOKEN=TOKEN)


@pytest.fixture
def host(queue: Flask) -> FlaskClient:
    """A client of an application with a session of its own, signed with the same key, which mounts the dashboard."""
    app = Flask("host")
    app.secret_key = LOCKED["SECRET_KEY"]

    @app.get("/visits")
    def visits() -> str:
        session["visits"] = session.get("visits", 0) + 1
        return str(session["visits"])

    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {PREFIX: queue})  # type: ignore[method-assign]
    return app.test_client()


@pytest.fixture
def admin(host: FlaskClient) -> Visitor:
    return Visitor(host, PREFIX).log_in(ADMIN)


def test_every_address_on_every_page_keeps_the_prefix(admin: Visitor, queue: Flask, scenes: Scenes) -> None:
    failed = scenes.full()["failed"]
    scenes.ended(100)
    pages = [one.path for one in routes(queue, failed) if not one.writes and not one.api]
    pages += ["/jobs?state=failed&q=unavailable", "/bulks/new?verb=retry&all=1&state=failed", "/nowhere"]
    found: set[str] = set()
    for path in pages:
        response = admin.client.get(PREFIX + path)
        if "Location" in response.headers:
            found.add(response.headers["Location"])
        found |= {unescape(address) for address in _ADDRESS.findall(response.text)}
        commands = _COMMAND.findall(unescape(response.text))
        assert all(url.startswith(f"http://localhost{PREFIX}/") for url in commands), (path, commands)
    assert len(found) > 60
    assert [one for one in found if not f"{one}/".startswith(f"{PREFIX}/")] == []
    assert [one for one in found if one.startswith(PREFIX * 2)] == []


def test_static_files_come_from_below_the_prefix(admin: Visitor) -> None:
    script = re.search(r'src="([^"]*live\.js)"', admin.see("/jobs").text)
    assert script is not None
    response = admin.client.get(script[1], buffered=True)
    assert (response.status_code, response.mimetype) == (200, "text/javascript")
    assert "immutable" in response.headers["Cache-Control"]


def test_the_prefix_without_its_slash_leads_to_the_overview(admin: Visitor) -> None:
    assert admin.see("", 308).headers["Location"] == f"http://localhost{PREFIX}/"


def test_a_login_goes_on_to_the_page_that_was_asked_for(host: FlaskClient) -> None:
    visitor = Visitor(host, PREFIX)
    response = visitor.see("/jobs?state=failed", 303)
    assert response.headers["Location"] == f"{PREFIX}/login?next=/queue/jobs?state%3Dfailed"
    response = visitor.press("/login", password=ADMIN, next="/queue/jobs?state=failed")
    assert response.headers["Location"] == "/queue/jobs?state=failed"
    assert visitor.press("/logout").headers["Location"] == "/queue/login"


def test_an_action_goes_back_to_the_list_that_it_was_pressed_in(admin: Visitor, scenes: Scenes) -> None:
    failed = scenes.full()["failed"]
    page = admin.see("/jobs?state=failed").text
    assert f'action="{PREFIX}/jobs/{failed}/retries"' in page
    assert f'name="back" value="{PREFIX}/jobs?state=failed"' in page
    response = admin.press(f"/jobs/{failed}/retries", back=f"{PREFIX}/jobs?state=failed")
    assert (response.status_code, response.headers["Location"]) == (303, f"{PREFIX}/jobs?state=failed")
    assert scenes.state(failed) == "new"
    assert "Retried 1 job." in words(admin.see("/jobs"))


def test_the_two_applications_keep_their_sessions_apart(host: FlaskClient) -> None:
    assert host.get("/visits").text == "1"
    visitor = Visitor(host, PREFIX).log_in(ADMIN)
    assert host.get("/visits").text == "2"
    own = host.get_cookie("spoils_session", path=PREFIX)
    assert own is not None
    assert (own.path, own.http_only, own.secure, own.same_site) == (PREFIX, True, True, "Lax")
    theirs = host.get_cookie("session")
    assert theirs is not None
    # Signed with the same key, and still no session of the dashboard.
    host.set_cookie("spoils_session", theirs.value, path=PREFIX)
    visitor.see("/jobs", 303)
    visitor.log_in(ADMIN).press("/logout")
    assert host.get("/visits").text == "3"


def test_the_api_keeps_the_prefix(host: FlaskClient, scenes: Scenes) -> None:
    response = host.post(f"{PREFIX}/api/jobs/fetch-product", json={"barcode": "737628064502"}, headers=BEARER)
    assert response.status_code == 200
    assert response.headers["Location"] == f"{PREFIX}/api/jobs/{response.json['id']}"
    assert host.get(response.headers["Location"], headers=BEARER).json["state"] == "new"
    document = host.get(f"{PREFIX}/openapi.json", headers=BEARER).json
    assert document["servers"] == [{"url": PREFIX}]
    assert "/api/jobs/fetch-product" in document["paths"]
    # Programs get JSON under a prefix too.
    assert host.get(f"{PREFIX}/api/nowhere", headers=BEARER).json == {
        "error": "There is nothing at this address."
    }
    assert host.get(f"{PREFIX}/health").json == {"status": "ok"}


def test_only_on_a_host_of_its_own_it_asks_browsers_to_stay_with_https(
    host: FlaskClient, queue: Flask
) -> None:
    header = "Strict-Transport-Security"
    assert header not in host.get(f"{PREFIX}/health", base_url="https://localhost").headers
    assert header in queue.test_client().get("/health", base_url="https://localhost").headers


def test_it_is_made_from_the_environment_and_what_the_call_adds(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    monkeypatch.setenv("SPOILS_API_TOKEN", TOKEN)
    app = spoils.web.create_app(
        {
            "DATABASE_URL": database_url,
            "SPOILS_JOBS": "tests.sample_jobs",
            "SPOILS_DB_CONNECTIONS": 5,
            "SPOILS_ADMIN_PASSWORD": None,  # not given
        }
    )
    client = app.test_client()
    assert client.get("/health").status_code == 200
    assert client.get("/api/jobs/status", headers=BEARER).status_code == 200
    assert client.get("/login").status_code == 503
    with app.app_context():
        assert spoils.models.db.engine.pool.size() == 5
        spoils.models.db.engine.dispose()


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ({"SECRET_KEY": "short"}, SettingError, "SECRET_KEY is wrong"),
        ({"SPOILS_JOB": "shop.jobs"}, SettingError, "Did you mean SPOILS_JOBS"),
        ({"DATABASE_URL": "mysql://localhost/shop"}, SettingError, "DATABASE_URL is wrong"),
        ({"SPOILS_JOBS": "no.such.module"}, JobDefinitionError, "there is no module no.such.module"),
    ],
)
def test_a_wrong_setting_is_an_exception_with_its_sentence(
    wrong: dict[str, str], error: type[Exception], sentence: str
) -> None:
    given = {"DATABASE_URL": "postgresql://127.0.0.1:1/shop", "SPOILS_JOBS": "tests.sample_jobs", **wrong}
    with pytest.raises(error, match=sentence):
        spoils.web.create_app(given)


def test_the_process_stays_as_the_application_has_set_it_up() -> None:
    program = """
import logging, signal
signals = range(1, 32)
before = [signal.getsignal(number) for number in signals]
import spoils.web
app = spoils.web.create_app({"DATABASE_URL": "postgresql://127.0.0.1:1/shop", "SPOILS_JOBS": "tests.sample_jobs"})
assert [signal.getsignal(number) for number in signals] == before
assert (logging.root.handlers, logging.root.level) == ([], logging.WARNING)
assert (logging.getLogger("spoils").handlers, logging.getLogger("spoils").level) == ([], logging.NOTSET)
print(app.test_client().get("/health").status_code)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "503\n"), done.stderr


def test_two_of_them_serve_in_one_process(make_app: MakeApp, scenes: Scenes) -> None:
    task_id: UUID = scenes.full()["failed"]
    one, other = make_app(**LOCKED), make_app(SPOILS_API_TOKEN=TOKEN)
    app = Flask("host")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/one": one, "/other": other})  # type: ignore[method-assign]
    client = app.test_client()
    Visitor(client, "/one").log_in(ADMIN).see(f"/jobs/{task_id}")
    Visitor(client, "/other").see("/jobs", 503)
    assert client.get(f"/other/api/jobs/{task_id}", headers=BEARER).json["state"] == "failed"
    assert client.get(f"/one/api/jobs/{task_id}", headers=BEARER).status_code == 401
