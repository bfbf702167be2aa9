"""The built wheel in an application of its own, outside the clone: it migrates, works, serves, and knows no food."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import requests
from sqlalchemy import inspect

from spoils.db.embedded import EmbeddedPostgres
from spoils.db.engine import make_engine
from tests.programs import Program, free_port

JOBS = '''
from spoils import Job, Queue


class ChargeCard(Job):
    """Charges a customer's card."""

    order_id: int

    def run(self, queue: Queue) -> None:
        print(f"charged {self.order_id}", flush=True)
'''
TESTS = """
import spoils
from shop.jobs import ChargeCard
from spoils.testing import drain


def test_a_card_is_charged(spoils_database):
    spoils.enqueue(ChargeCard(order_id=7))
    assert [done.outcome for done in drain()] == ["finished"]
"""
EXAMPLE = """
import psycopg2, spoils, sys
from shop.jobs import ChargeCard

connection = psycopg2.connect(sys.argv[1])
kept = spoils.enqueue(ChargeCard(order_id=7), connection=connection)
connection.commit()
spoils.enqueue(ChargeCard(order_id=8), connection=connection)
connection.rollback()
client = spoils.Client(sys.argv[1])
print(client.wait(kept.id, timeout=60).state)
print(sorted(name for name in sys.modules if name.startswith(("spoils.food", "spoils.jobs", "tests"))))
"""
WORKERS_PAGE = """
import re, spoils.web

app = spoils.web.create_app({"SECRET_KEY": "a-key-of-the-tests"}, authorize=lambda request: "admin")
print(*re.findall('<pre class="code">(.*?)</pre>', app.test_client().get("/workers").text))
"""

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the wheel; its dependencies are those that the tests have."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install = [
        "-m",
        "pip",
        "--python",
        str(home / "bin/python"),
        "install",
        "--quiet",
        "--no-deps",
        str(wheel),
    ]
    subprocess.run([sys.executable, *install], check=True, timeout=300)
    return home / "bin"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder of an application with one job class."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/jobs.py").write_text(JOBS)
    return tmp_path


def test_the_wheel_holds_templates_and_static_files_and_neither_tests_nor_food(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"spoils/templates/layout.html", "spoils/static/base.css", "spoils/py.typed"} <= set(names)
    assert {"spoils/testing/__init__.py", "pytest_spoils.py"} <= set(names)
    assert [name for name in names if name.startswith(("tests/", "spoils/food/", "spoils/jobs/"))] == []


def test_an_application_of_its_own_enqueues_performs_and_serves(
    programs: Path, shop: Path, empty_database_url: str
) -> None:
    settings = {"DATABASE_URL": empty_database_url, "SPOILS_JOBS": "shop.jobs", "HOME": str(shop)}
    port = free_port()

    def program(*arguments: str, **more: str) -> Program:
        return Program(*arguments, folder=shop, python=str(programs / "python"), **settings, **more)

    spoils = str(programs / "spoils")
    with program(spoils, "migrate") as migrate:
        assert (migrate.ends(), migrate.lines) == (0, ["The schema is up to date."])
    assert not {"products", "ingredient_analyses"} & set(tables(empty_database_url))
    with program("-c", WORKERS_PAGE) as workers_page:
        assert (workers_page.ends(), workers_page.lines) == (0, ["spoils worker"])
    web = program(spoils, "web", PORT=str(port), WEB_CONCURRENCY="1", SPOILS_API_TOKEN="a-token-of-the-tests")
    with web:
        web.says("Booting worker", timeout=40)
        url = f"http://127.0.0.1:{port}"
        with program(spoils, "worker") as worker:
            worker.says("Worker pool started", timeout=40)
            with program("-c", EXAMPLE, empty_database_url) as example:
                assert (example.ends(), example.lines) == (0, ["finished", "[]"])
            worker.says("charged 7")
            assert "charged 8" not in worker.output
        document = requests.get(
            f"{url}/openapi.json", headers={"Authorization": "Bearer a-token-of-the-tests"}, timeout=10
        )
        assert "/api/jobs/charge-card" in document.json()["paths"]
        assert not [word for word in ("product", "barcode", "ingredient") if word in document.text.lower()]
        assert requests.get(f"{url}/api/products/737628064502", timeout=10).status_code == 404


def test_its_tests_have_the_fixture_and_without_database_url_the_embedded_server(
    programs: Path, shop: Path
) -> None:
    (shop / "test_shop.py").write_text(TESTS)
    tests = ("-m", "pytest", "-q", "--rootdir=.", "test_shop.py")
    try:
        with Program(*tests, folder=shop, python=str(programs / "python"), DATABASE_URL="") as pytest_run:
            assert pytest_run.ends() == 0, pytest_run.output
            pytest_run.says("1 passed")
    finally:
        EmbeddedPostgres(shop / ".spoils" / "postgres").remove()


def tables(url: str) -> list[str]:
    engine = make_engine(url, connections=1, application_name="tests")
    names = inspect(engine).get_table_names()
    engine.dispose()
    return names


def test_without_spoils_jobs_the_error_names_the_setting(programs: Path, shop: Path) -> None:
    with Program(str(programs / "spoils"), "check", folder=shop, python=str(programs / "python")) as check:
        assert check.ends() == 2
        assert check.lines == [
            (
                "SPOILS_JOBS is wrong: there is no module spoils.jobs. "
                "Name the modules or packages of your job classes, as in SPOILS_JOBS=shop.jobs."
            )
        ]


def test_dev_outside_a_clone_starts_no_program_of_the_application(programs: Path, shop: Path) -> None:
    for name in ("app.py", "worker.py"):
        (shop / name).write_text("print('started')")
    settings = {"HOME": str(shop), "SPOILS_JOBS": "shop.jobs", "PORT": str(free_port())}
    with Program(
        str(programs / "spoils"), "dev", folder=shop, python=str(programs / "python"), **settings
    ) as dev:
        assert dev.ends() == 2
        assert len(dev.lines) == 1
        assert "works only in a clone of Spoils" in dev.lines[0]
