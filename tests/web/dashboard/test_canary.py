"""A secret that is put wherever one may come in appears nowhere: no page, no response of the API, no log line."""

import logging
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from tests.web.dashboard.conftest import MakeApp
from tests.web.dashboard.pages import Visitor
from tests.web.dashboard.routes import routes
from tests.web.dashboard.scenes import TRACEBACK, Scenes

CANARY = "Kanarienvogel7f3a9c"
URL = f"https://someone:{CANARY}@db.example/path"
SETTINGS = {
    "SPOILS_ADMIN_PASSWORD": f"admin-{CANARY}",
    "SPOILS_VIEWER_PASSWORD": f"viewer-{CANARY}",
    "SECRET_KEY": f"key-{CANARY}-key-key",
    "SPOILS_API_TOKEN": f"shop:token-{CANARY}",
    "SPOILS_NOTIFY_URL_EMAIL": f"mailtos://someone:{CANARY}@mail.example",
}
BEARER = {"Authorization": f"Bearer token-{CANARY}"}


def deep(levels: int) -> object:
    """A secret at that depth."""
    value: object = {"client_secret": CANARY}
    for level in range(levels):
        value = {"next": value} if level % 2 else [value, {"Cookie": CANARY}]
    return value


def place(scenes: Scenes) -> list[UUID]:
    """Jobs in each state, with the secret in payload, error, attempt and traceback."""
    found = list(scenes.full().values())
    payload = {
        "type": "FetchProductJob",
        "barcode": "737628064502",
        "password": CANARY,
        "X-Api-Key": {"inner": CANARY},
        "headers": {"Authorization": f"Bearer {CANARY}"},
        "database": URL,
        "deep": deep(20),
    }
    for state in ("new", "in_progress", "retried", "failed", "finished"):
        task_id = scenes.task(
            state=state,
            metadata=payload,
            task_type="fetch_product",
            attempts=1,
            error_message=f"Refused: {URL}",
        )
        scenes.attempt(
            task_id,
            error_class="OperationalError",
            message=f"could not connect: {URL}",
            traceback=f"{TRACEBACK}{URL}\n",
        )
        found.append(task_id)
    return found


def test_it_appears_nowhere(make_app: MakeApp, scenes: Scenes, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(**SETTINGS)
    jobs = place(scenes)
    seen: list[tuple[str, str]] = []

    def see(client: FlaskClient, method: str, path: str, **more: object) -> None:
        response = client.open(path=path, method=method, buffered=True, **more)
        seen.append((f"{method} {path}", f"{response.headers}\n{response.get_data(as_text=True)}"))

    with caplog.at_level(logging.DEBUG):
        admin = Visitor(app.test_client()).log_in(SETTINGS["SPOILS_ADMIN_PASSWORD"])
        reads = [route.path for each in jobs for route in routes(app, each) if not route.writes]
        for path in dict.fromkeys(reads):
            see(admin.client, "GET", path, headers=BEARER)
        see(admin.client, "GET", "/jobs?q=barcode:737628064502")
        see(admin.client, "GET", "/api/jobs?limit=200", headers=BEARER)
        stranger = Visitor(app.test_client())
        see(
            stranger.client, "POST", "/login", data={"csrf_token": stranger.token(), "password": f"x{CANARY}"}
        )
        for headers in ({"Authorization": f"Bearer wrong-{CANARY}"}, {"Cookie": f"spoils_session={CANARY}"}):
            see(stranger.client, "GET", "/api/jobs/status", headers=headers)
            see(stranger.client, "GET", "/jobs", headers=headers)
        order = {"type": "FetchProductJob", "payload": {"barcode": "4006381333931", "password": CANARY}}
        see(admin.client, "POST", "/api/jobs", json=order, headers=BEARER)
        see(
            admin.client,
            "POST",
            "/api/jobs/fetch-product",
            json={"barcode": 7, "token": CANARY},
            headers=BEARER,
        )
        away = make_app(**{**SETTINGS, "DATABASE_URL": f"postgresql://spoils:{CANARY}@127.0.0.1:1/spoils"})
        see(away.test_client(), "GET", "/api/jobs/status", headers=BEARER)
        see(Visitor(away.test_client()).log_in(SETTINGS["SPOILS_ADMIN_PASSWORD"]).client, "GET", "/jobs")
    assert len(seen) > 60
    assert [place for place, text in seen if CANARY in text] == []
    assert CANARY not in caplog.text
    # It was there to be found.
    assert (
        scenes.value("SELECT count(*) FROM fang_tasks WHERE metadata::text LIKE :it", it=f"%{CANARY}%") == 5
    )
