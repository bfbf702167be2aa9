"""The pytest plugin in a project of its own: its tests run by a pytest of their own, on a real PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.databases import administration
from tests.documents import blocks
from tests.programs import ROOT

pytestmark = pytest.mark.process

SHOP = '''
from sqlalchemy import text

from spoils import Done, Job, Queue


class MailReceipt(Job):
    order_id: int

    def run(self, queue: Queue) -> None:
        return None


class ChargeCard(Job):
    """Charges a customer's card."""

    order_id: int

    def run(self, queue: Queue) -> Done:
        queue.session.execute(text("INSERT INTO receipts VALUES (:id)"), {"id": self.order_id})
        queue.enqueue(MailReceipt(order_id=self.order_id))
        return Done({"receipt": f"r{self.order_id}"})
'''
TESTS = """
import os

import pytest
from shop.jobs import ChargeCard, MailReceipt
from sqlalchemy import create_engine, text

import spoils
from spoils.testing import drain, enqueued, perform


@pytest.fixture
def engine(spoils_database):
    engine = create_engine(spoils_database.replace("postgresql:", "postgresql+psycopg2:"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE receipts (id integer)"))
    yield engine
    engine.dispose()


def receipts(engine):
    with engine.begin() as connection:
        return list(connection.scalars(text("SELECT id FROM receipts")))


def test_perform_without_a_database():
    assert perform(MailReceipt(order_id=7)).outcome == "finished"


@pytest.mark.parametrize("number", range(4))
def test_each_test_has_an_empty_database(engine, number):
    assert drain() == []
    done = perform(ChargeCard(order_id=number))
    assert (done.result, done.enqueued) == ({"receipt": f"r{number}"}, [MailReceipt(order_id=number)])
    assert receipts(engine) == [number]
    spoils.enqueue(ChargeCard(order_id=10 + number))
    with engine.connect() as connection:
        spoils.enqueue(ChargeCard(order_id=99), connection=connection.connection.driver_connection)
        connection.rollback()
    assert enqueued(ChargeCard) == [ChargeCard(order_id=10 + number)]
    assert [one.outcome for one in drain()] == ["finished", "finished"]
    assert receipts(engine) == [number, 10 + number]


def test_the_url_is_that_of_the_environment(spoils_database):
    assert os.environ["DATABASE_URL"] == spoils_database
    assert spoils.Client().get(spoils.enqueue(MailReceipt(order_id=1)).id).state == "new"


def test_the_environment_is_as_before():
    assert os.environ.get("DATABASE_URL") == os.environ.get("GIVEN_URL")
"""
UNUSED = """
import sys


def test_nothing_of_spoils_is_imported():
    assert [name for name in sys.modules if name == "spoils" or name.startswith("spoils.")] == []
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/jobs.py").write_text(SHOP)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\npythonpath = .\n")
    return tmp_path


def run_pytest(project: Path, tests: str, *arguments: str, database_url: str | None = None) -> str:
    (project / "test_shop.py").write_text(tests)
    kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "GIVEN_URL")}
    given = {"DATABASE_URL": database_url, "GIVEN_URL": database_url} if database_url else {}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_spoils", *arguments],
        cwd=project,
        env={**kept, "PYTHONPATH": str(ROOT), **given},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_project_tests_its_jobs_on_its_server_and_leaves_nothing_there(
    project: Path, empty_database_url: str, arguments: tuple[str, ...]
) -> None:
    before = databases(empty_database_url)
    assert "7 passed" in run_pytest(project, TESTS, *arguments, database_url=empty_database_url)
    assert databases(empty_database_url) == before


def databases(url: str) -> set[str]:
    with administration(url) as connection:
        return set(
            connection.scalars(text("SELECT datname FROM pg_database WHERE datname ~ '^spoils_test_'"))
        )


def test_a_project_that_does_not_use_it_imports_nothing(project: Path) -> None:
    assert "1 passed" in run_pytest(project, UNUSED)


def test_the_examples_of_the_document_pass(project: Path, empty_database_url: str) -> None:
    for block in blocks("docs/testing.md"):
        assert block.language == "python", block
        path = project / block.text.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text)
    assert "4 passed" in run_pytest(project, "", database_url=empty_database_url)
