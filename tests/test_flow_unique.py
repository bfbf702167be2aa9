"""The examples of docs/flow.md on uniqueness, steps and policies by type run as they stand."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from spoils.builtin.retention import kept_by_class
from spoils.job.registry import registry
from spoils.testing import drain, enqueued, perform
from spoils.testing.databases import new_default_client
from tests.classes import throw_away_classes
from tests.documents import ROOT


@pytest.fixture(autouse=True)
def default_database(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[None]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with throw_away_classes(), new_default_client():
        yield


def example(heading: str, **names: Any) -> dict[str, Any]:
    """The names that the section's Python block leaves."""
    _, _, section = (ROOT / "docs" / "flow.md").read_text().partition(f"## {heading}\n")
    (block,) = re.findall(r"^```python\n(.*?)^```$", section.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    left = {"__name__": __name__, **names}
    exec(compile(block, f"docs/flow.md, {heading}", "exec"), left)
    return left


def test_of_two_changes_the_last_one_is_indexed() -> None:
    job = example("Uniqueness")["IndexProduct"]
    assert enqueued(job) == [job(product_id=7, title="Green tea")]
    assert [one.job for one in drain(scheduled=True)] == [job(product_id=7, title="Green tea")]


def test_the_price_list_is_downloaded_once() -> None:
    downloads, imports = [], []

    def import_price(row: str) -> None:
        if row == "b" and "b" not in imports:
            imports.append("b")
            raise ConnectionError
        imports.append(row)

    job = example(
        "Steps", download=lambda url: downloads.append(url) or ["a", "b"], import_price=import_price
    )["ImportPrices"]
    first = perform(job(url="x"))
    assert (first.outcome, dict(first.steps)) == ("retried", {"download": ["a", "b"], "import 0": None})
    second = perform(job(url="x"), attempt=1, steps=first.steps)
    assert (second.outcome, second.result, dict(second.steps)) == ("finished", 2, {"import 1": None})
    assert (downloads, imports) == (["x"], ["a", "b", "b"])


def test_the_policies_are_those_of_the_class() -> None:
    assert registry.get("RetentionJob") is None or registry.get("RetentionJob").cron is None  # type: ignore[union-attr]
    job = example("Policies by type")["QuotePrice"]
    assert kept_by_class().finished == {"QuotePrice": job.keep}
    assert kept_by_class().failed == {"QuotePrice": job.keep_failed}
