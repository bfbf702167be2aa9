"""What documents say of the code: links, tables, settings; and no block of a document escapes the test that runs it."""

import re
from pathlib import Path

import pytest
from annotated_types import Ge, Gt, Le
from sqlalchemy import text

from spoils.config import Settings
from tests.documents import ROOT, WALKED, blocks
from tests.rows import Rows

LANGUAGES = {"bash", "http", "json", "python", "sql", "text"}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
NOTE = re.compile(r"in an empty database|not run: .+|")
NOT_RUN = [
    ("README.md", "heroku create spoils-backend"),
    ("README.md", "bin/test"),
    ("docs/guide.md", "heroku config:set WORKER_THREADS=10"),
    ("docs/guide.md", "heroku config:set SPOILS_ALERT_URL="),
    ("docs/guide.md", "heroku logs --tail"),
]
"""How each block begins that is marked as not run. A block belongs here only if no test can run it."""


@pytest.mark.parametrize("document", WALKED)
def test_each_fence_of_a_document_is_a_block_in_a_known_language(document: str) -> None:
    found = blocks(document)
    fences = re.findall(r"^ *```", (ROOT / document).read_text(), re.MULTILINE)
    assert 2 * sum(not block.inline for block in found) == len(fences)
    unknown = [
        str(block) for block in found if block.language not in LANGUAGES or not NOTE.fullmatch(block.note)
    ]
    assert unknown == []


def test_no_other_block_is_marked_as_not_run() -> None:
    found = [block for document in WALKED for block in blocks(document) if not block.runs]
    assert len(found) == len(NOT_RUN)
    for block, (document, beginning) in zip(found, NOT_RUN, strict=True):
        assert (block.document, block.text[: len(beginning)]) == (document, beginning)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_of_a_document_leads_to_a_file_and_a_heading(page: Path) -> None:
    links = LINK.findall(page.read_text())
    targets = [(page.parent / path if path else page, heading) for path, heading in links]
    assert [str(path) for path, _ in targets if not path.exists()] == []
    assert [
        (path.name, heading) for path, heading in targets if heading and heading not in anchors(path)
    ] == []


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["architecture.md", "glossary.md", "ownership.md", "reliability.md"])
def test_each_file_and_test_that_a_document_names_exists(name: str) -> None:
    page = (ROOT / "docs" / name).read_text()
    files = re.findall(r"`((?:spoils|templates|tests|static|bin)/[\w./]*)`", page)
    assert [file for file in files if not (ROOT / file).exists()] == []
    tests = "".join(file.read_text() for file in ROOT.glob("tests/**/test_*.py"))
    assert [test for test in re.findall(r"`(test_\w+)`", page) if f"def {test}(" not in tests] == []


def test_each_query_of_the_runbook_runs(rows: Rows) -> None:
    queries = [block for block in blocks("docs/runbook.md") if block.language == "sql" and not block.inline]
    assert queries
    for query in queries:
        rows.connection.execute(text(query.text))


def test_the_guide_lists_each_table_beside_the_tasks(rows: Rows) -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    _, _, after = guide.partition("The other tables:\n\n")
    listed = re.findall(
        r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", after.split("\n\n")[0], re.MULTILINE))
    )
    there = rows.all(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'fang_tasks'"
    )
    assert sorted(listed) == sorted(name for (name,) in there)


def test_the_settings_page_lists_each_setting_with_its_default_and_its_bounds() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    lines = [line.strip("| ").split(" | ") for line in re.findall(r"^\| `.*$", page, re.MULTILINE)]
    listed = {name.strip("`"): (default.strip("`"), bounds) for name, default, bounds, *_ in lines}
    fields = {field.alias: field for field in Settings.model_fields.values() if field.alias}
    assert listed.keys() == {*fields, "SPOILS_NOTIFY_URL_<TYPE>"}
    for name, field in fields.items():
        default, bounds = listed[name]
        if isinstance(field.default, str | float | int):
            number = isinstance(field.default, float | int)
            assert (name, default) == (name, f"{field.default:g}" if number else field.default)
        least = next((one.ge for one in field.metadata if isinstance(one, Ge)), None)
        above = next((one.gt for one in field.metadata if isinstance(one, Gt)), None)
        most = next((one.le for one in field.metadata if isinstance(one, Le)), None)
        if most is not None:
            beginning = f"above {above}, to" if least is None else f"{least} to"
            assert (name, f"{beginning} {most}") == (name, bounds.removesuffix(" s").removesuffix(" days"))
