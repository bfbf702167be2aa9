"""Fuzzed query strings on every page and every read of the API: no 5xx, and no error of the database.

A few for each by default; SPOILS_FUZZED_QUERIES=10000 tries as many.
"""

import base64
import os
import random
from collections.abc import Iterator
from uuid import UUID

from flask import Flask
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext

from spoils.models import db
from tests.web.dashboard.conftest import ADMIN, LOCKED, MakeApp
from tests.web.dashboard.pages import Visitor
from tests.web.dashboard.routes import routes
from tests.web.dashboard.scenes import Scenes

NUMBER = int(os.environ.get("SPOILS_FUZZED_QUERIES", "40"))
NAMES = (
    *(
        "state",
        "type",
        "q",
        "sort",
        "older",
        "newer",
        "limit",
        "minutes",
        "next",
        "back",
        "page",
        "window",
        "at",
        "v",
    ),
    *("span", "since", "fingerprint", "name", "barcode", "zone", "before", "after", "x", ""),
)
VALUES = (
    *(
        "",
        "0",
        "1",
        "-1",
        "50",
        "201",
        "2147483648",
        "9223372036854775808",
        "1e309",
        "NaN",
        "٣",
        "1.5",
        "true",
        "null",
    ),
    *(
        "new",
        "failed",
        "in_progress",
        "finished",
        "fetch_product",
        "-updated_at",
        "updated_at; DROP TABLE fang_tasks",
    ),
    *(
        "'",
        '"',
        "\\",
        "%",
        "_",
        "%%",
        "' OR 1=1 --",
        "\0",
        "\x1b[2J",
        "\r\nX: y",
        "\ud7ff",
        "\ufffd",
        "\u202e",
        "😀",
    ),
    *(
        "barcode:",
        "barcode:737628064502",
        "user_id:123",
        "a:b",
        ":",
        "x" * 255,
        "x" * 256,
        "x" * 2_000,
        "a:" + "%" * 200,
    ),
    *(
        "error:'",
        "barcode:\0",
        "metadata:{}",
        "__proto__:1",
        "00000000-0000-4000-8000-000000000000",
        "{}",
        "[]",
        "../",
    ),
    *(
        "MjAyNi0wMS0wMVQwMDowMDowMCswMDowMHwx",
        "MDAwMS0wMS0wMVQwMDowMDowMCswMDowMHww",
        "====",
        "24h",
        "7d",
        "//evil.example",
    ),
)
# A moment at either end of time, with a key: the form that a place in a list has.
PLACES = (
    "0001-01-01T00:00:00+00:00|{id}",
    "9999-12-31T23:59:59.999999-23:59|{id}",
    "2026-01-01T00:00:00+00:00|2147483647",
)


def queries(seed: int, task_id: UUID) -> Iterator[list[tuple[str, str]]]:
    places = [
        base64.urlsafe_b64encode(one.format(id=task_id).encode()).decode().rstrip("=") for one in PLACES
    ]
    values = (*VALUES, *places, str(task_id))
    chance = random.Random(seed)
    while True:
        yield [
            (chance.choice(NAMES), chance.choice(values) + chance.choice(("", "", "", chance.choice(values))))
            for _ in range(chance.randint(1, 4))
        ]


def test_no_query_string_is_too_odd_for_a_page_or_for_the_database(make_app: MakeApp, scenes: Scenes) -> None:
    app = make_app(**LOCKED, SPOILS_API_TOKEN="t0ken")
    task_id = scenes.full()["failed"]
    visitor = Visitor(app.test_client()).log_in(ADMIN)
    errors = heard_errors(app)
    reads = [route for route in routes(app, task_id) if not route.writes and route.endpoint != "static"]
    assert len(reads) >= 10
    for seed, route in enumerate(reads):
        fuzzed = queries(seed, task_id)
        for _ in range(NUMBER):
            query = next(fuzzed)
            response = visitor.client.get(
                route.path, query_string=query, headers={"Authorization": "Bearer t0ken"}
            )
            assert response.status_code < 500, (route, query)
            assert not errors, (route, query, errors)


def heard_errors(app: Flask) -> list[str]:
    """Every error that the database answers from now on."""
    found: list[str] = []
    with app.app_context():
        engine = db.engine

    @event.listens_for(engine, "handle_error")
    def heard(context: ExceptionContext) -> None:
        found.append(str(context.original_exception))

    return found
