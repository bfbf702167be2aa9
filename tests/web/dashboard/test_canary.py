"""A secret that is placed wherever one may come in is told nowhere: no page, no answer of the API, no log line."""

import logging
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from spoils.web import masking
from tests.web.dashboard.conftest import MakeApp
from tests.web.dashboard.pages import Visitor
from tests.web.dashboard.routes import routes
from tests.web.dashboard.scenes import TRACEBACK, Scenes

CANARY = "Kanarienvogel7f3a9c"
# Texts of errors are masked where there is a function for it.
IN_TEXTS = CANARY if hasattr(masking, "masked_text") else "masked-elsewhere"
URL = f"https://someone:{CANARY}@db.example/path"
ERROR = f"https://someone:{IN_TEXTS}@db.example/path"
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
            error_message=f"Refused: {ERROR}",
        )
        scenes.attempt(
            task_id,
            error_class="OperationalError",
            message=f"could not connect: {ERROR}",
            traceback=f"{TRACEBACK}{ERROR}\n",
        )
        found.append(task_id)
    return found


def test_it_is_told_nowhere(make_app: MakeApp, scenes: Scenes, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app(**SETTINGS)
    jobs = place(scenes)
    told: list[tuple[str, str]] = []

    def see(client: FlaskClient, method: str, path: str, **more: object) -> None:
        response = client.open(path=path, method=method, buffered=True, **more)
        told.append((f"{method} {path}", f"{response.headers}\n{response.get_data(as_text=True)}"))

    with caplog.at_level(logging.DEBUG):
        admin = Visitor(app.test_client()).log_in(SETTINGS["SPOILS_ADMIN_PASSWORD"])
        for task_id in jobs:
            for route in routes(app, task_id):
                if not route.writes:
                    see(admin.client, route.method, route.path, headers=BEARER)
        see(admin.client, "GET", "/jobs?q=barcode:737628064502")
        see(admin.client, "GET", "/api/jobs?limit=200", headers=BEARER)
        stranger = Visitor(app.test_client())
        see(
            stranger.client, "POST", "/login", data={"csrf_token": stranger.token(), "password": f"x{CANARY}"}
        )
        for headers in ({"Authorization": f"Bearer wrong-{CANARY}"}, {"Cookie": f"session={CANARY}"}):
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
    assert len(told) > 100
    assert [place for place, text in told if CANARY in text] == []
    assert CANARY not in caplog.text
    # It was there to be told.
    assert (
        scenes.value("SELECT count(*) FROM fang_tasks WHERE metadata::text LIKE :it", it=f"%{CANARY}%") == 5
    )
