"""The examples of docs/flow.md about batches and chains are run as they stand."""

from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO

import pytest

from spoils import Client, Job
from spoils.client.client import default_client
from spoils.testing import Performed, drain
from tests.classes import throw_away_classes
from tests.documents import ROOT, blocks

HEADINGS = ("Batches", "Chains")


@pytest.fixture
def client(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    default_client.cache_clear()
    with throw_away_classes():
        yield default_client()
    default_client().close()
    default_client.cache_clear()


def run(heading: str) -> dict[str, type[Job]]:
    """Execute the Python blocks of a section. A comment says what is printed."""
    lines = (ROOT / "docs" / "flow.md").read_text().splitlines()
    begin = lines.index(f"## {heading}") + 1
    end = next(
        (place for place, line in enumerate(lines[begin:], begin + 1) if line.startswith("## ")), len(lines)
    )
    names: dict[str, type[Job]] = {}
    said = StringIO()
    printed = []
    with redirect_stdout(said):
        for block in blocks("docs/flow.md"):
            if block.language == "python" and begin < block.line <= end:
                exec(block.text, names)
                printed += [line.split("  # ")[1] for line in block.text.splitlines() if line[:6] == "print("]
    assert said.getvalue().splitlines() == printed != []
    return names


def finished(done: list[Performed], job_class: type[Job]) -> int:
    assert {one.outcome for one in done} == {"finished"}
    return sum(isinstance(one.job, job_class) for one in done)


def test_the_example_of_batches(client: Client) -> None:
    names = run("Batches")
    client.enqueue(names["NightImport"]())
    done = drain(client)
    assert finished(done, names["ImportShop"]) == 5
    assert finished(done, names["Report"]) == 2


def test_the_example_of_chains(client: Client) -> None:
    names = run("Chains")
    client.enqueue(names["Publish"]())
    done = drain(client)
    assert finished(done, names["Download"]) == 2
    assert [one.result for one in done if isinstance(one.job, names["Convert"])] == [
        {"rows": len("/tmp/prices.csv")}
    ] * 2
