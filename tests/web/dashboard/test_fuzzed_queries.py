"""Fuzzed query strings on every page and every read of the API: no 5xx, and no error of the database.

By default 12 for each; SPOILS_FUZZED_QUERIES=10000 tries as many, in four parts that can run in parallel.
"""

import base64
import os
import random
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, Request
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from werkzeug.datastructures import ImmutableMultiDict

from spoils.models import db
from tests.web.dashboard.conftest import ADMIN, LOCKED, MakeApp
from tests.web.dashboard.pages import Visitor
from tests.web.dashboard.routes import routes
from tests.web.dashboard.scenes import Scenes

NUMBER = int(os.environ.get("SPOILS_FUZZED_QUERIES", "12"))
PARTS = 4
# Beside the names that a route is seen to read.
NAMES = ("state", "q", "sort", "limit", "page", "at", "v", "next", "fingerprint", "x", "")
VALUES = (
    *(
        "",
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
        "😀",
    ),
    *("\u202e", "x" * 255, "x" * 256, "x" * 2_000, "a:" + "%" * 200, "barcode:\0", "null", "{}", "[]", "../"),
    *("0", "1", "-1", "50", "201", "2147483648", "9223372036854775808", "1e309", "NaN", "٣", "1.5", "true"),
    *(
        "24h",
        "7d",
        "1h",
        "all",
        "sample",
        "v143",
        "words:sample",
        "-updated_at",
        "retry",
        "run_now",
        "cancel",
    ),
    *("new", "failed", "in_progress", "finished", "fetch_product", "delete", "restore", ":", "====", "a:b"),
    *("barcode:", "barcode:737628064502", "user_id:123", "error:'", "metadata:{}", "__proto__:1"),
    *(
        "//evil.example",
        "/jobs?state=failed",
        "2096-01-01T00:00:00+00:00",
        "updated_at; DROP TABLE fang_tasks",
    ),
    "00000000-0000-4000-8000-000000000000",
    *("MjAyNi0wMS0wMVQwMDowMDowMCswMDowMHwx", "MDAwMS0wMS0wMVQwMDowMDowMCswMDowMHww"),
)
# What an argument takes: half of the values are of these, else an answer would be a refusal as a rule.
FITTING = {
    "state": ("new", "in_progress", "retried", "failed", "finished"),
    "type": ("fetch_product", "sample", "' OR 1=1 --", "%", "😀"),
    "q": ("barcode:737628064502", "barcode:%", "type:'", "a:\\", "x:{}", "_:😀"),
    "limit": ("1", "50", "200"),
    "wait": ("0", "20"),
    "minutes": ("1", "60", "1440"),
    "verb": ("retry", "run_now", "cancel", "delete"),
    "all": ("1",),
    "group": ("sample", "words:sample", "words:0123456789abcdef"),
    "window": ("24h", "7d", "all"),
    "since": ("v143", "dev", "'"),
    "range": ("1h", "24h", "7d"),
    "types": ("all",),
    "after": ("0", "1", "9223372036854775807", "-1"),
    "back": ("/jobs?state=failed", "//evil.example"),
    "until": ("2096-01-01T00:00:00+00:00", "0001-01-01T00:00:00+00:00"),
}
PLACED = ("older", "newer")
NAMED = ("id", "tried", "again", "q")
# A moment at either end of time, with a key: the form that a place in a list has.
PLACES = (
    "0001-01-01T00:00:00+00:00|{id}",
    "9999-12-31T23:59:59.999999-23:59|{id}",
    "2026-01-01T00:00:00+00:00|{id}",
    "2026-01-01T00:00:00+00:00|2147483647",
    "0001-01-01T00:00:00+00:00|1",
)


class Read:
    """The names that routes have read from a query string, so that guesses are about arguments that matter."""

    def __init__(self, app: Flask) -> None:
        self.names: set[str] = set()
        read = self.names

        class Told(ImmutableMultiDict[str, str]):
            """A query string that records which names are read."""

            def get(self, key: str, *rest: Any, **more: Any) -> Any:
                read.add(key)
                return super().get(key, *rest, **more)

            def getlist(self, key: str, *rest: Any, **more: Any) -> Any:
                read.add(key)
                return super().getlist(key, *rest, **more)

        class Asked(Request):
            parameter_storage_class = Told

        app.request_class = Asked


def queries(seed: int, task_id: UUID, read: set[str]) -> Iterator[list[tuple[str, str]]]:
    """Endless; of four, three hold only names that are in `read`, which may grow meanwhile."""
    places = [
        base64.urlsafe_b64encode(one.format(id=task_id).encode()).decode().rstrip("=") for one in PLACES
    ]
    odd = (*VALUES, *places, str(task_id))
    fitting = {**FITTING, **dict.fromkeys(PLACED, tuple(places))}
    for name in NAMED:
        fitting[name] = (*fitting.get(name, ()), str(task_id))
    chance = random.Random(seed)

    def value(name: str) -> str:
        if name in fitting and chance.random() < 0.6:
            return chance.choice(fitting[name])
        return chance.choice(odd) + chance.choice(("", "", "", chance.choice(odd)))

    while True:
        known = sorted(read)
        names = known if known and chance.random() < 0.75 else [*NAMES, *known]
        chosen = [chance.choice(names) for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.75:  # twice the same is refused by the API
            chosen = list(dict.fromkeys(chosen))
        yield [(name, value(name)) for name in chosen]


@pytest.mark.parametrize("part", range(PARTS))
def test_no_query_string_is_too_odd_for_a_page_or_for_the_database(
    make_app: MakeApp, scenes: Scenes, part: int
) -> None:
    app = make_app(**LOCKED, SPOILS_API_TOKEN="t0ken")
    task_id = scenes.full()["failed"]
    scenes.named_alike(task_id)
    admin, stranger = Visitor(app.test_client()).log_in(ADMIN).client, app.test_client()
    errors = heard_errors(app)
    reads = [route for route in routes(app, task_id) if not route.writes]
    assert len(reads) >= 20
    for seed, route in list(enumerate(reads))[part::PARTS]:
        read = Read(app)
        client = stranger if route.endpoint == "dashboard.login" else admin  # who is in is sent on
        answers: Counter[int] = Counter()
        fuzzed = queries(seed, task_id, read.names)
        # The first one, empty, shows what is read; the others are made as they are sent.
        for query in chain([[]], islice(fuzzed, NUMBER)):
            response = client.get(route.path, query_string=query, headers={"Authorization": "Bearer t0ken"})
            answers[response.status_code] += 1
            assert response.status_code < 500, (route, query)
            assert not errors, (route, query, errors)
        print(f"{route}: {dict(answers)}, asked for {', '.join(sorted(read.names)) or 'nothing'}", flush=True)


def heard_errors(app: Flask) -> list[str]:
    """Every error that the database answers from now on."""
    found: list[str] = []
    with app.app_context():
        engine = db.engine

    @event.listens_for(engine, "handle_error")
    def heard(context: ExceptionContext) -> None:
        found.append(str(context.original_exception))

    return found
