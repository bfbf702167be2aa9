"""The dashboard as an admin, a viewer and a stranger see it, in the client and in a browser."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser
from sqlalchemy import Connection
from werkzeug.serving import make_server

from spoils.config import Settings
from spoils.food.extension import FOOD
from spoils.job.discovery import load as load_jobs
from spoils.models import db
from spoils.web import create_app
from spoils.web.dashboard.application_users import Authorize
from tests.web.dashboard.pages import Visitor
from tests.web.dashboard.scenes import Scenes
from tests.web.dashboard.windows import Windows

ADMIN, VIEWER = "correct horse", "battery staple"
LOCKED = {
    "SPOILS_ADMIN_PASSWORD": ADMIN,
    "SPOILS_VIEWER_PASSWORD": VIEWER,
    "SECRET_KEY": "not much of a secret",
}

MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(database_url: str) -> Iterator[MakeApp]:
    """Build applications with settings of the test's own, over its database unless another is named."""
    load_jobs()
    apps: list[Flask] = []

    def make(
        *,
        development: bool = False,
        authorize: Authorize | None = None,
        login_url: str | None = None,
        **environment: str,
    ) -> Flask:
        settings = Settings.from_env({"DATABASE_URL": database_url, **environment}, development=development)
        apps.append(create_app(settings, authorize=authorize, login_url=login_url, extensions=(FOOD,)))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def locked(make_app: MakeApp) -> Flask:
    """An application with both passwords."""
    return make_app(**LOCKED)


@pytest.fixture
def stranger(locked: Flask) -> Visitor:
    return Visitor(locked.test_client())


@pytest.fixture
def admin(locked: Flask) -> Visitor:
    return Visitor(locked.test_client()).log_in(ADMIN)


@pytest.fixture
def viewer(locked: Flask) -> Visitor:
    return Visitor(locked.test_client()).log_in(VIEWER)


@pytest.fixture
def closed(make_app: MakeApp) -> FlaskClient:
    """A client of an application without a password."""
    return make_app().test_client()


@pytest.fixture
def scenes(connection: Connection) -> Scenes:
    return Scenes(connection)


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve an application to a browser on this machine; its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def served(make_app: MakeApp) -> Iterator[str]:
    """The URL of a dashboard that is open, as in development."""
    with serving(make_app(development=True)) as url:
        yield url


@pytest.fixture
def windows(browser: Browser, served: str) -> Iterator[Windows]:
    """Open pages in a browser; what a console said of any of them fails the test."""
    opened = Windows(browser, served)
    yield opened
    opened.close()
    assert opened.complaints == []
