"""Every invalid request gets a 4xx with a sentence, and enqueues nothing."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.rows import Rows
from tests.web.conftest import MakeClient

FETCH = "/api/jobs/fetch-product"
ANALYZE = "/api/jobs/analyze-ingredients"
NOTIFY = "/api/jobs/send-notification"
DOOR = {"Authorization": "Bearer t0ken"}
# Internals that must never reach a client.
INSIDES = re.compile(
    r"Traceback|File \"|psycopg|sqlalchemy|pydantic|werkzeug|site-packages|SELECT|INSERT", re.IGNORECASE
)

UNREADABLE: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b" \r\n\t ",
    "cut short": b'{"barcode": "7376280',
    "a bare word": b"barcode=737628064502",
    "single quotes": b"{'barcode': '737628064502'}",
    "a trailing comma": b'{"barcode": "737628064502",}',
    "two objects": b'{"barcode": "737628064502"} {"barcode": "737628064502"}',
    "a comment": b'{"barcode": "737628064502"} // mine',
    "a line break in a text": b'{"barcode": "7376280\n64502"}',
    "a byte order mark": b'\xef\xbb\xbf{"barcode": "737628064502"}',
    "utf-16": '{"barcode": "737628064502"}'.encode("utf-16"),
    "latin-1": '{"barcode": "ü"}'.encode("latin-1"),
    "bytes of no encoding": b'{"barcode": "\xff\xfe"}',
    "an encoded surrogate": b'{"barcode": "\xed\xa0\x80"}',
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "sixty thousand levels": b"[" * 60_000,
    "sixty thousand levels of objects": b'{"":' * 15_000,
    "33 levels": b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
    "closed before it is opened": b"]" * 30_000 + b"[" * 30_000,
    "an integer of 5,000 digits": b'{"product_id": ' + b"9" * 5_000 + b"}",
    "an exponent beyond all numbers": b'{"product_id": 1e999}',
    "NaN": b'{"product_id": NaN}',
    "Infinity": b'{"product_id": Infinity}',
    "-Infinity": b'{"product_id": -Infinity}',
    "a key twice": b'{"barcode": "737628064502", "barcode": "737628064503"}',
    "a key twice, spelt differently": b'{"barcode": "737628064502", "b\\u0061rcode": "737628064502"}',
    "an array": b'[{"barcode": "737628064502"}]',
    "a text": b'"737628064502"',
    "a number": b"737628064502",
    "null": b"null",
    "true": b"true",
}
NOTE = {"user_id": 1, "notification_type": "email", "message": "hello"}
MISFITS: list[tuple[str, Any]] = [
    *((FETCH, {"barcode": barcode}) for barcode in ("../1", "\ud800", "0" * 60_000, None, {"$gt": ""})),
    *((FETCH, given) for given in ({}, {"barcodes": "737628064502"}, {"Barcode": "737628064502"})),
    *((FETCH, {"barcode": "737628064502", more: 1}) for more in ("type", "uniq", "priority", "", "\0", "\ud800")),
    *(
        (ANALYZE, {"product_id": number})
        for number in ("1", "", True, False, None, 1.0, 1.5, 0, -1, 2**31, 2**63, 10**39, [1], {"id": 1})
    ),
    *((NOTIFY, {**NOTE, "message": value}) for value in ("a\0b", "half \ud83d of a smile", "", "x" * 10_001, 7)),
    *((NOTIFY, {**NOTE, "user_id": value}) for value in (-1, 2**63, True, "1", 1.0)),
    *((NOTIFY, {**NOTE, "notification_type": value}) for value in ("", "e mail", "email\n", "9", "é", "x" * 51)),
    ("/api/jobs/cleanup", {"days": 1}),
]  # fmt: skip


@pytest.fixture
def client(client_with: MakeClient) -> FlaskClient:
    return client_with(SPOILS_API_TOKEN="t0ken")


def sentence(response: TestResponse, *statuses: int) -> str:
    """The answer's error, after looking at its shape."""
    assert response.status_code in statuses, response.get_data(as_text=True)[:500]
    assert response.content_type == "application/json"
    answer = response.get_json()
    assert answer.keys() <= {"error", "fields"}
    error = answer["error"]
    assert isinstance(error, str)
    assert re.search(r"\w \w.*\.$", error, re.DOTALL), error
    assert len(error) < 600
    assert not INSIDES.search(error), error
    return str(error)


def post(client: FlaskClient, path: str, body: bytes, content_type: str = "application/json") -> TestResponse:
    return client.post(path, data=body, content_type=content_type, headers=DOOR)


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_body_that_is_not_a_json_object_is_refused(client: FlaskClient, rows: Rows, body: bytes) -> None:
    for path in (FETCH, ANALYZE):
        sentence(post(client, path, body), 400)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


def test_a_payload_that_does_not_fit_is_refused_with_its_field(client: FlaskClient, rows: Rows) -> None:
    for path, payload in MISFITS:
        # json.dumps writes what no client library would: lone surrogates, NUL.
        response = post(client, path, json.dumps(payload).encode())
        error = sentence(response, 422, 400)
        if fields := response.get_json().get("fields"):
            assert set(fields) <= {*payload, "barcode", "payload"}
            assert all(message in error for message in fields.values())
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1, 5_000_000])
def test_a_body_has_at_most_64_kib(client: FlaskClient, rows: Rows, size: int) -> None:
    response = post(client, FETCH, b'{"barcode": "737628064502"' + b" " * (size - 27) + b"}")
    if size <= 64 * 1024:
        assert response.status_code == 200
    else:
        assert sentence(response, 413) == "The request is too large: at most 64 KiB are allowed."
        assert rows.value("SELECT count(*) FROM fang_tasks") == 0


@pytest.mark.parametrize(
    "body", [b'{"a": "' + b'\\"' * 32_000, b'"\\' * 32_000, b'"' * 64_000, b'{"a":"\\\n' * 7_000]
)
def test_a_body_is_read_in_linear_time(client: FlaskClient, body: bytes) -> None:
    # Each would take minutes if a search began again at each sign.
    sentence(post(client, FETCH, body), 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/", 404),
        ("GET", "/api/jobs/", 404),
        ("GET", "/api/nothing/at/all", 404),
        ("POST", "/api/jobs/no-such-job", 404),
        ("POST", "/api/jobs/Fetch-Product", 404),
        ("POST", "/api/jobs/fetch-product/", 404),
        ("POST", "/api/jobs/fetch.product", 404),
        ("GET", "/api/jobs/1", 404),
        ("POST", "/api/jobs/x/retry", 404),
        ("GET", "/api/jobs/00000000-0000-4000-8000-000000000000", 404),
        ("GET", "/api/jobs/00000000-0000-4000-8000-00000000000", 404),
        ("GET", "/api/jobs/{00000000-0000-4000-8000-000000000000}", 404),
        ("GET", "/api/products/", 404),
        ("GET", "/api/products/737628064502/", 404),
        ("GET", "/api/jobs/fetch-product", 405),
        ("PUT", "/api/jobs/fetch-product", 405),
        ("DELETE", "/api/jobs/fetch-product", 405),
        ("POST", "/api/jobs/status", 405),
        ("DELETE", "/api/jobs/status", 405),
        ("PATCH", "/api/products/737628064502", 405),
        ("POST", "/health", 405),
        ("BREW", "/api/jobs/status", 405),
    ],
)
def test_a_wrong_path_or_method_is_an_error_in_json(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    response = client.open(path, method=method, headers=DOOR, json={} if method == "POST" else None)
    sentence(response, status)
    if status == 405:
        allowed = set(re.split(r",\s*", response.headers["Allow"]))
        assert allowed & {"GET", "POST"}
        assert method not in allowed or path == FETCH


@pytest.mark.parametrize(
    "name", ["AnalyzeIngredientsJob", "CleanupJob", "FetchProductJob", "SendNotificationJob"]
)
def test_an_unknown_job_is_answered_with_those_there_are_the_most_similar_first(
    client: FlaskClient, name: str
) -> None:
    error = sentence(client.post(f"/api/jobs/<b>{name}", json={}, headers=DOOR), 404)
    assert error.startswith(f'Unknown job class "<b>{name}". Job classes: {name}, ')


# The examples share one database: nothing that they send may change it.
unchanged = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@unchanged
@given(
    payload=st.one_of(
        any_json,
        st.fixed_dictionaries(
            {"barcode": any_json | st.from_regex(r"[0-9]{6,16}") | st.text("0123456789 \n²٣", max_size=15)}
        ),
        st.fixed_dictionaries({"product_id": any_json}),
    )
)
def test_any_json_is_enqueued_where_it_fits_and_else_refused_with_a_sentence(
    client: FlaskClient, rows: Rows, payload: Any
) -> None:
    for path, field in ((FETCH, "barcode"), (ANALYZE, "product_id")):
        before = rows.value("SELECT count(*) FROM fang_tasks")
        response = post(client, path, json.dumps(payload).encode())
        if _fits(payload, field):
            assert response.status_code == 200
        else:
            sentence(response, 400, 422)
            assert rows.value("SELECT count(*) FROM fang_tasks") == before


def _fits(payload: Any, field: str) -> bool:
    if not isinstance(payload, dict) or payload.keys() != {field}:
        return False
    value = payload[field]
    if field == "product_id":
        return type(value) is int and 1 <= value < 2**31
    return isinstance(value, str) and re.fullmatch(r"[0-9]{8,14}", value) is not None


@unchanged
@given(path=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@example(path="..")
@example(path="a/../../health")
@example(path="\0")
@example(path="\r\nX: y")
def test_any_path_under_the_api_is_answered_in_json(client: FlaskClient, path: str) -> None:
    for folder in ("/api/jobs/", "/api/products/", "/api/"):
        address = folder + quote(path)
        sentence(client.get(address, headers=DOOR), 400, 404)
        sentence(client.post(address, json={}, headers=DOOR), 404, 405)
