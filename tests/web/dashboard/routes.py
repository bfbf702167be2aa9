"""Every route that an application has, with addresses that lead to something where one is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from flask import Flask
from werkzeug.routing import IntegerConverter, Rule, UUIDConverter

from tests.rows import Rows
from tests.web.dashboard.scenes import NOODLES

READS = ("GET", "HEAD", "OPTIONS")
KNOWN = {
    "barcode": NOODLES,
    "name": "fetch-product",
    "job": "CleanupJob",
}


@dataclass(frozen=True)
class Route:
    """One method of one rule, at an address."""

    endpoint: str
    method: str
    path: str

    @property
    def api(self) -> bool:
        return self.endpoint.startswith("api.")

    @property
    def writes(self) -> bool:
        return self.method not in READS

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes(app: Flask, task_id: UUID) -> Iterator[Route]:
    """All of them, those of other branches and days too."""
    for rule in app.url_map.iter_rules():
        for method in sorted(set(rule.methods or ()) - {"HEAD", "OPTIONS"}):
            yield Route(rule.endpoint, method, _path(rule, task_id))


def _path(rule: Rule, task_id: UUID) -> str:
    values: dict[str, object] = {}
    for name in rule.arguments:
        converter = rule._converters[name]
        if isinstance(converter, UUIDConverter):
            values[name] = task_id
        elif isinstance(converter, IntegerConverter):
            values[name] = 1
        else:
            values[name] = str(task_id) if name == "task_id" else KNOWN.get(name, "sample")
    built = rule.build(values)
    assert built is not None, rule
    return built[1]


def everything(rows: Rows) -> dict[str, str]:
    """What stands in every table, as a hash each."""
    tables = [name for (name,) in rows.all("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    return {
        name: rows.value(f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {name} t")
        for name in tables
    }
