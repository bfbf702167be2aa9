"""Web applications with settings of a test's own; one database for each file, emptied after each test."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from spoils.config import Settings
from spoils.food.extension import FOOD
from spoils.job.discovery import load as load_jobs
from spoils.models import db
from spoils.web import create_app
from tests.databases import emptied

MakeClient = Callable[..., FlaskClient]


@pytest.fixture
def database_url(database_of_the_file: str) -> Iterator[str]:
    yield database_of_the_file
    emptied(database_of_the_file)


@pytest.fixture
def client_with(database_url: str) -> Iterator[MakeClient]:
    """Build a client of an application with these settings, over the test's database unless one is given."""
    load_jobs()
    apps: list[Flask] = []

    def make(*, development: bool = False, **environment: str) -> FlaskClient:
        given = {"DATABASE_URL": database_url, **environment}
        app = create_app(Settings.from_env(given, development=development), extensions=(FOOD,))
        apps.append(app)
        return app.test_client()

    yield make
    for app in apps:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
