"""A database whose role may read and delete, but not write, as on a host that takes that right away."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection

from tests.conftest import administration
from tests.roles import a_role, as_role
from tests.rows import Rows
from tests.web.dashboard.conftest import MakeApp
from tests.web.dashboard.pages import Visitor, words

SENTENCE = "The database refuses this: the role lacks the privilege."
BARCODE = {"barcode": "737628064502"}
DOOR = {"Authorization": "Bearer t0ken"}
FETCH = {"type": "FetchProductJob", "payload": BARCODE}


@pytest.fixture
def reader(postgres_url: str) -> Iterator[str]:
    with administration(postgres_url) as connection, a_role(connection) as name:
        yield name


@pytest.fixture
def client(
    reader: str, database_url: str, connection: Connection, make_app: MakeApp
) -> Iterator[FlaskClient]:
    connection.exec_driver_sql(f"GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA public TO {reader}")
    app = make_app(development=True, DATABASE_URL=as_role(database_url, reader), SPOILS_API_TOKEN="t0ken")
    yield app.test_client()
    connection.exec_driver_sql(f"DROP OWNED BY {reader}")


@pytest.mark.parametrize(
    ("path", "given", "more"),
    [
        ("/api/jobs/fetch-product", BARCODE, {}),
        ("/api/jobs", FETCH, {}),
        ("/api/jobs/batch", [FETCH], {}),
        ("/api/jobs/batch", [FETCH], {"Idempotency-Key": "once"}),
    ],
    ids=["endpoint", "by name", "batch", "once"],
)
def test_the_api_answers_503_and_says_that_a_right_is_lacking(
    client: FlaskClient, path: str, given: object, more: dict[str, str]
) -> None:
    response = client.post(path, json=given, headers={**DOOR, **more})
    assert response.status_code == 503
    assert response.get_json()["error"].startswith(SENTENCE)


@pytest.mark.parametrize("noun", ["retries", "deletions", None])
def test_a_page_answers_503_and_says_that_a_right_is_lacking(
    client: FlaskClient, rows: Rows, noun: str | None
) -> None:
    task_id = rows.task(state="failed")
    visitor = Visitor(client)
    if noun is None:
        response = visitor.press("/enqueue/fetch-product", **{"field.barcode": BARCODE["barcode"]})
    else:
        response = visitor.press(f"/jobs/{task_id}/{noun}")
    assert response.status_code == 503
    assert SENTENCE in words(response)
    assert rows.state(task_id) == "failed"


def test_pages_and_the_api_are_still_read(client: FlaskClient) -> None:
    assert client.get("/jobs").status_code == 200
    assert client.get("/api/jobs", headers=DOOR).status_code == 200
