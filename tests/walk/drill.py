"""`bin/screens --drill`: six incidents, seen on the first page, understood in two clicks and mended without SQL.

Each has a database, a web program and workers of its own. A stop-watch says how long it took from the beginning of the
incident to the sentence on the overview, and how many clicks it took to understand it and to mend it.
"""

import shutil
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import requests
from playwright.sync_api import Locator, Page, expect

from spoils.job import Job
from spoils.queue.enqueue_many import enqueue_many
from tests.bench.server import database, engine_of, server
from tests.programs import Program, free_port
from tests.rows import Rows
from tests.support import eventually
from tests.walk import jobs

SEEN_WITHIN = 60
LARGEST = 200 * 1024


class Incident:
    """What an operator has before them: a browser, and the programs that run."""

    def __init__(self, page: Page, stack: ExitStack, url: str, pictures: str) -> None:
        self.page, self.stack, self.engine = page, stack, engine_of(url)
        stack.callback(self.engine.dispose)
        self.rows = Rows(
            stack.enter_context(self.engine.connect().execution_options(isolation_level="AUTOCOMMIT"))
        )
        self.home = Path(tempfile.mkdtemp(prefix="spoils-drill-"))
        stack.callback(shutil.rmtree, self.home)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "DATABASE_URL": url, "PORT": str(port), "SPOILS_JOBS": "tests.walk.jobs", "DRILL": str(self.home),
        }  # fmt: skip
        stack.enter_context(Program("app.py", **self.environment))
        eventually(lambda: requests.get(f"{self.url}/health", timeout=10).raise_for_status(), 60)
        self._pictures, self._taken, self._clicks = pictures, 0, 0
        self.seen_after, self.understood, self.mended = 0.0, 0, 0

    def worker(self, **environment: str) -> Program:
        program = self.stack.enter_context(Program("worker.py", **self.environment, **environment))
        program.says("Worker pool started", timeout=60)
        current = "SELECT count(*) FROM spoils_workers WHERE ended_at IS NULL AND pid = :pid"
        eventually(lambda: self.rows.value(current, pid=program.process.pid) == 1, 30)
        return program

    def enqueue(self, *made: Job) -> None:
        with self.engine.begin() as connection:
            enqueue_many(connection, list(made))

    def write(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement)

    def wrong(self, fault: str, on: bool) -> None:
        file = self.home / fault
        file.touch() if on else file.unlink()

    def see(self, sentence: str) -> None:
        """Open the overview and wait for the sentence; the page refreshes itself."""
        began = time.monotonic()
        self.page.goto(self.url)
        expect(self.page.locator(".health")).to_contain_text(sentence, timeout=2 * SEEN_WITHIN * 1000)
        self.seen(time.monotonic() - began, sentence)

    def seen(self, seconds: float, sentence: str) -> None:
        expect(self.page.locator(".health")).to_contain_text(sentence)
        self.seen_after = seconds
        if seconds > SEEN_WITHIN:
            raise SystemExit(f"The overview said so after {seconds:.0f} s only.")
        self.keep()

    def click(self, found: Locator) -> None:
        self._clicks += 1
        found.click()

    def understand(self, *shown: str) -> None:
        """What the page shows now says what is wrong."""
        for text in shown:
            expect(self.page.locator("main")).to_contain_text(text)
        self.understood, self._clicks = self._clicks, 0
        self.keep()

    def all_listed(self, action: str) -> None:
        """Act on all jobs of the list that the page shows, by way of its preview."""
        self.click(self.page.get_by_label("Select all jobs on this page"))
        self.click(self.page.locator(".bulk-actions").get_by_role("button", name=action))
        self.click(self.page.locator("main form").get_by_role("button", name=action))

    def all_end(self, finished: int) -> None:
        eventually(
            lambda: self.rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'finished'") == finished,
            60,
        )

    def well(self) -> None:
        """All is mended, and the overview says so."""
        self.mended = self._clicks
        self.page.goto(self.url)
        expect(self.page.locator(".health")).to_contain_text("Healthy.", timeout=60_000)

    def keep(self) -> None:
        self._taken += 1
        file = Path(f"{self._pictures}-{self._taken}.png")
        self.page.mouse.move(0, 0)
        self.page.screenshot(path=file, animations="disabled")
        if file.stat().st_size > LARGEST:
            raise SystemExit(f"{file} is too large.")


def broken_release(at: Incident) -> None:
    """Half of the attempts of a type fail, and are retried."""
    at.worker()
    at.wrong("release", on=True)
    at.enqueue(*(jobs.ChargeCardJob(order=number) for number in range(40)))
    at.see("of attempts failed")
    at.click(at.page.get_by_role("link", name="Show errors"))
    at.click(at.page.get_by_role("link", name="LookupError").first)
    at.understand("has no field total_cents", "will be retried")
    at.wrong("release", on=False)  # the release is rolled back
    at.all_listed("Run now")
    at.enqueue(*(jobs.ChargeCardJob(order=number) for number in range(100)))
    at.all_end(140)


def stuck_upstream(at: Incident) -> None:
    """A service hangs: each thread waits for it, and all other work waits for a thread."""
    at.worker(WORKER_THREADS="3")
    at.wrong("upstream", on=True)
    at.enqueue(*(jobs.CallUpstreamJob(number=number) for number in range(6)))
    at.enqueue(*(jobs.ResizeImageJob(number=number) for number in range(20)))
    at.see("At full capacity")
    at.click(at.page.get_by_role("link", name="Show workers"))
    at.understand("3 of 3 busy", "call_upstream")
    at.click(at.page.get_by_role("row", name="call_upstream").get_by_role("button", name="Pause"))
    at.click(at.page.get_by_role("row", name="call_upstream").get_by_role("link", name="3 in progress"))
    at.all_listed("Cancel")
    at.all_end(20)
    at.wrong("upstream", on=False)
    at.page.goto(f"{at.url}/workers")
    at.click(at.page.get_by_role("row", name="call_upstream").get_by_role("button", name="Resume"))
    at.all_end(23)


def dead_worker(at: Incident) -> None:
    """The only worker is killed."""
    worker = at.worker()
    worker.send(signal.SIGKILL)
    at.enqueue(*(jobs.ResizeImageJob(number=number) for number in range(20)))
    at.see("no workers are running")
    at.click(at.page.get_by_role("link", name="Workers"))
    at.understand("unresponsive")
    at.worker()
    at.all_end(20)


def missed_nightly_job(at: Incident) -> None:
    """No worker was up when a schedule was due."""
    nightly = "job = 'NightlyReportJob'"
    worker = at.worker()
    eventually(lambda: at.rows.value("SELECT count(*) FROM spoils_schedules WHERE " + nightly) == 1, 30)
    worker.stop()
    # A day later: its tick was due while no worker was up.
    at.write(f"UPDATE spoils_schedules SET settled_until = now() - interval '25 hours' WHERE {nightly}")
    at.worker()
    at.see("missed")
    at.click(at.page.locator(".health").get_by_role("link"))
    at.understand("missed")
    at.click(at.page.get_by_role("button", name="Run now nightly_report"))
    at.all_end(1)


def growing_backlog(at: Incident) -> None:
    """More jobs come than one worker performs."""
    at.worker(WORKER_THREADS="2")
    number = 0
    ends = time.monotonic() + SEEN_WITHIN
    at.page.goto(at.url)
    began = time.monotonic()
    while time.monotonic() < ends and "At full" not in at.page.locator(".health").inner_text():
        at.enqueue(*(jobs.ResizeImageJob(number=number + one) for one in range(15)))
        number += 15
        at.page.wait_for_timeout(1000)
    at.seen(time.monotonic() - began, "At full capacity")
    at.click(at.page.get_by_role("link", name="Show workers"))
    at.understand("2 of 2 busy", "resize_image")
    at.worker(WORKER_THREADS="60")
    at.all_end(number)


def bad_field(at: Incident) -> None:
    """Three thousand jobs failed for a value that they were enqueued with."""
    at.worker()
    at.enqueue(*(jobs.SendInvoiceJob(order=number, currency="EURO") for number in range(3000)))
    at.see("of attempts failed")
    eventually(lambda: at.rows.value("SELECT count(*) = 3000 FROM fang_tasks WHERE state = 'failed'"), 120)
    at.click(at.page.get_by_role("link", name="Show errors"))
    at.click(at.page.get_by_role("link", name="ValueError").first)
    at.understand("unknown currency EURO")
    at.click(at.page.locator("main details.menu summary").first)
    at.click(at.page.get_by_role("link", name="Change a field…"))
    at.page.get_by_label("Field", exact=True).select_option("currency")
    at.page.get_by_label("New value").fill("EUR")
    at.page.get_by_label("Only where it is now").fill("EURO")
    at.click(at.page.get_by_role("button", name="Preview"))
    expect(at.page.locator("main")).to_contain_text("3,000 would change")
    at.keep()
    at.click(at.page.get_by_role("button", name="Try one"))
    at.all_end(1)
    at.page.reload()
    expect(at.page.locator(".steps-box .state-finished")).to_be_visible()
    at.click(at.page.get_by_role("button", name="Change and retry the rest"))
    at.all_end(3001)  # with the job that changes them
    at.enqueue(*(jobs.SendInvoiceJob(order=number) for number in range(12_000)))  # what comes meanwhile
    at.all_end(15_001)


SCENES = (broken_release, stuck_upstream, dead_worker, missed_nightly_job, growing_backlog, bad_field)


def drill(page: Page, folder: Path, only: str | None = None) -> None:
    """Play each incident, and print what the stop-watch says."""
    with server() as postgres:
        for scene in SCENES:
            name = scene.__name__.replace("_", "-")
            if only in (None, name):
                with database(postgres) as url, ExitStack() as stack:
                    at = Incident(page, stack, url, f"{folder}/drill-{name}")
                    scene(at)
                    at.well()
                    print(
                        f"{name}: seen after {at.seen_after:.0f} s, "
                        f"understood with {at.understood} clicks, mended with {at.mended}",
                        flush=True,
                    )
