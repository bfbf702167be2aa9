"""The examples, each as its README says, with the wheel and its requirements and nothing else; seen in a browser."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from spoils.client import Client
from tests.process.environments import install
from tests.programs import ROOT, Program, free_port
from tests.rows import Rows
from tests.support import eventually, in_thread
from tests.web.dashboard.windows import Windows

pytestmark = [pytest.mark.process, pytest.mark.browser]

EXAMPLES = ROOT / "examples"
PASSWORD = "a password of the shop"
REFRESHED = 60_000
"""Milliseconds within which a page has refreshed itself, also on a busy machine."""
NO_ORDER = """INSERT INTO fang_tasks (metadata, task_type, scheduled_at)
    VALUES ('{"type": "MailReceipt", "order_id": 0}', 'mail_receipt', now()) RETURNING id"""


class Shop:
    """One example, copied to a folder and followed by its README: what it installs, its settings, its commands."""

    def __init__(self, name: str, folder: Path, wheel: Path, database_url: str) -> None:
        self._folder = folder / name
        shutil.copytree(EXAMPLES / name, self._folder)
        block = re.search(r"```bash\n(.*?)```", (self._folder / "README.md").read_text(), re.DOTALL)
        assert block is not None
        installs, exports, *commands = [shlex.split(line, comments=True) for line in block[1].splitlines()]
        files = installs[installs.index("-r") + 1 :] if "-r" in installs else []
        requirements = [line for file in files for line in (self._folder / file).read_text().splitlines()]
        self._python = str(install(wheel, requirements, folder / "environment"))
        self.settings = dict(one.split("=", 1) for one in exports[1:])
        self.settings |= {"DATABASE_URL": database_url, "SHOP_PASSWORD": PASSWORD, "HOME": str(folder)}
        at = commands.index(["spoils", "worker"])
        self.before, self.last = commands[:at], commands[-1]

    def program(self, command: list[str], **environment: str) -> Program:
        """Start one of its commands."""
        name, *arguments = command
        program = arguments if name == "python" else ["-m", name, *arguments]
        return Program(*program, folder=self._folder, python=self._python, **self.settings, **environment)

    def runs(self, command: list[str], **environment: str) -> str:
        """Run one of its commands to its end; what it printed."""
        with self.program(command, **environment) as program:
            assert program.ends() == 0
        return program.output


OpenShop = Callable[[str], Shop]


@pytest.fixture
def shop(wheel: Path, tmp_path: Path, empty_database_url: str) -> Iterator[OpenShop]:
    """Set up an example, run the commands before its worker, and start that."""
    with ExitStack() as stack:

        def opened(name: str) -> Shop:
            made = Shop(name, tmp_path, wheel, empty_database_url)
            for command in made.before:
                if "createsuperuser" in command:
                    command = [*command, "--noinput", "--username", "ann", "--email", "ann@shop.example"]
                made.runs(command, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
            worker = stack.enter_context(made.program(["spoils", "worker"]))
            worker.says("Worker pool started", timeout=40)
            return made

        yield opened


@pytest.fixture
def url(shop: OpenShop, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an example that is served, as the last line of its README does."""
    made, port = shop(request.param), str(free_port())
    with made.program([port if one == "8000" else one for one in made.last]) as served:
        eventually(lambda: requests.get(f"http://127.0.0.1:{port}/queue/health", timeout=5).ok, timeout=40)
        yield f"http://127.0.0.1:{port}"
        assert "Traceback" not in served.output


@pytest.fixture
def rows(empty_database_url: str) -> Iterator[Rows]:
    from spoils.db.engine import make_engine  # noqa: PLC0415

    engine = make_engine(empty_database_url, connections=1, application_name="tests", autocommit=True)
    with engine.connect() as connection:
        yield Rows(connection)
    engine.dispose()


def test_the_plain_example_enqueues_with_its_order_and_prints_the_result(shop: OpenShop) -> None:
    made = shop("plain")
    assert made.runs(made.last) == "{'mailed_to': 'ann@shop.example'}"


def logged_in_to_flask(windows: Windows) -> Page:
    page = windows.open("/queue/jobs?state=failed")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    page.get_by_label("User").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    return page


def logged_in_to_django(windows: Windows) -> Page:
    page = windows.open("/queue/jobs?state=failed")
    expect(page).to_have_url(re.compile(r"/admin/login/\?next="))
    page.get_by_label("Username").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    return page


def logged_in_to_fastapi(windows: Windows) -> Page:
    return windows.open("/queue/jobs?state=failed", credentials=("ann", PASSWORD))


LOGIN = {"flask": logged_in_to_flask, "django": logged_in_to_django, "fastapi": logged_in_to_fastapi}
REFUSED = {"flask": 303, "django": 303, "fastapi": 401}


@pytest.mark.parametrize("url", LOGIN, indirect=True)
def test_an_example_enqueues_with_its_order_and_shows_the_queue(
    url: str, rows: Rows, browser: Browser, empty_database_url: str, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["url"]
    ordered = requests.post(f"{url}/orders", json={"email": "ann@shop.example"}, timeout=20)
    client = Client(empty_database_url)
    status = in_thread(lambda: client.wait(UUID(ordered.json()["job"]), timeout=60))
    client.close()
    assert (status.state, status.result) == ("finished", {"mailed_to": "ann@shop.example"})

    assert requests.get(f"{url}/queue/jobs", allow_redirects=False, timeout=20).status_code == REFUSED[name]
    assert requests.get(f"{url}/queue/api/jobs/status", timeout=20).status_code == 401

    failed = rows.value(NO_ORDER)
    eventually(lambda: rows.value("SELECT state FROM fang_tasks WHERE id = :id", id=failed) == "failed")
    windows = Windows(browser, url)
    page = LOGIN[name](windows)
    expect(page).to_have_url(f"{url}/queue/jobs?state=failed")
    expect(page.locator(".corner .user")).to_have_text("ann")
    for section in page.get_by_role("navigation", name="Sections").get_by_role("link").all():
        assert (section.get_attribute("href") or "").startswith("/queue/")
    page.wait_for_load_state()
    page.get_by_role("button", name=re.compile("^Retry [a-z]")).click()
    expect(page.get_by_role("status")).to_contain_text("Retried 1 job.")
    expect(page).to_have_url(f"{url}/queue/jobs?state=failed")
    page.wait_for_load_state()
    page.get_by_role("link", name="Show job").click()
    expect(page).to_have_url(f"{url}/queue/jobs/{failed}")
    # The page follows the job by itself: it fails again.
    expect(page.locator("h1 .pill")).to_have_text("failed", timeout=REFRESHED)
    assert rows.all("SELECT who, verb FROM spoils_audit") == [("ann", "retry")]
    for link in ("Overview", "Workers", "Schedules", "Errors", "Audit log"):
        page.get_by_role("link", name=link, exact=True).first.click()
        page.wait_for_load_state()
        assert page.url.startswith(f"{url}/queue/")
    # The open list refreshes itself and shows the new job.
    page.goto(f"{url}/queue/jobs")
    rows.value(NO_ORDER)
    expect(page.locator("[data-newer]")).to_be_visible(timeout=REFRESHED)
    windows.close()
    # Pages of the shop itself have no icon.
    assert [one for one in windows.complaints if not one.startswith(f"{url}/favicon.ico")] == []
