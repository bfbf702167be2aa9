"""The OpenAPI document and its page: generated from the routes and the job classes."""

import re

import pytest
from flask.testing import FlaskClient

from spoils.job import Job, Queue
from tests.classes import throw_away_classes
from tests.web.conftest import MakeClient
from tests.web.dashboard.conftest import ADMIN, LOCKED

DOOR = {"Authorization": "Bearer t0ken"}


@pytest.fixture
def client(client_with: MakeClient) -> FlaskClient:
    return client_with(SPOILS_API_TOKEN="t0ken")


def document(client: FlaskClient) -> dict:
    response = client.get("/openapi.json", headers=DOOR)
    assert response.status_code == 200
    return response.get_json()


def test_it_is_not_sent_again_while_it_is_unchanged_and_documents_the_location_of_a_new_job(
    client: FlaskClient,
) -> None:
    first = client.get("/openapi.json", headers=DOOR)
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = client.get("/openapi.json", headers={**DOOR, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    with_location = {
        path
        for path, methods in first.get_json()["paths"].items()
        for operation in methods.values()
        if "Location" in operation["responses"]["200"].get("headers", {})
    }
    assert {"/api/jobs", "/api/jobs/fetch-product"} <= with_location
    assert not with_location & {"/api/jobs/batch", "/api/jobs/status", "/api/jobs/{task_id}/retry"}


def test_every_route_of_the_api_is_in_it_and_every_class_has_its_endpoint(client: FlaskClient) -> None:
    told = {(method, path) for path, methods in document(client)["paths"].items() for method in methods}
    for rule in client.application.url_map.iter_rules():
        if rule.endpoint.startswith("api.") and rule.endpoint not in (
            "api.document.openapi",
            "api.jobs.create",
        ):
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                assert (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)) in told
    for name in ("fetch-product", "analyze-ingredients", "send-notification", "cleanup"):
        assert ("post", f"/api/jobs/{name}") in told


def test_a_new_class_is_in_it_with_its_docstring_its_fields_and_its_security(client_with: MakeClient) -> None:
    with throw_away_classes():

        class DocumentedJob(Job):
            """Says hello."""

            name: str
            times: int = 1

            open = True

            def run(self, queue: Queue) -> None:
                return None

        for token, door in (("", [{}, {"token": ["enqueue"]}]), ("t0ken", [{"token": ["enqueue"]}])):
            client = client_with(SPOILS_API_TOKEN=token, **LOCKED)
            log_in(client)
            found = client.get("/openapi.json").get_json()
            operation = found["paths"]["/api/jobs/documented"]["post"]
            assert (operation["description"], operation["security"]) == ("Says hello.", door)
        schema = found["components"]["schemas"]["DocumentedJob"]
        assert (schema["required"], schema["additionalProperties"]) == (["name"], False)
        assert schema["properties"]["times"]["default"] == 1
        assert "POST /api/jobs/documented" in " ".join(
            re.sub("<[^>]*>", " ", client.get("/api/docs").text).split()
        )


def test_every_reference_resolves_and_every_operation_id_is_unique(
    client: FlaskClient,
) -> None:
    found = document(client)
    text = client.get("/openapi.json", headers=DOOR).text
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in found["components"]["schemas"]
    names = [one["operationId"] for methods in found["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names)) >= 14
    assert found["openapi"] == "3.1.0"


def test_document_and_page_require_a_token_or_a_login(client_with: MakeClient) -> None:
    for token in ("", "t0ken"):
        client = client_with(SPOILS_API_TOKEN=token, **LOCKED)
        assert client.get("/openapi.json").status_code == 401
        assert client.get("/api/docs").status_code == 303
        log_in(client)
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/api/docs").status_code == 200
    closed = client_with()
    assert (closed.get("/openapi.json").status_code, closed.get("/api/docs").status_code) == (401, 503)


def log_in(client: FlaskClient) -> None:
    page = client.get("/login").text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]

    assert client.post("/login", data={"csrf_token": token, "password": ADMIN}).status_code == 303
