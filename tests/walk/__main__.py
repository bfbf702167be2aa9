"""`bin/screens`: a newcomer's walk, with a real web program, a real worker and a Chromium; its pictures are kept."""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from spoils.db.embedded import EmbeddedPostgres
from tests.databases import migrate_at
from tests.programs import ROOT, Program, free_port
from tests.support import eventually
from tests.upstream import Behaviour, Exchange, Upstream, status
from tests.walk.drill import drill

PATIENCE_MS = 60_000
LARGEST = 150 * 1024
NOODLES = "0737628064502"
OTHERS = tuple(f"{301762042200 + at:013d}" for at in range(11))
FORBIDDEN = status(403, body=b'{"error": "This client may not read products."}')


class Walk:
    """What the newcomer does, step by step; each step ends with a picture."""

    def __init__(self, page: Page, url: str, upstream: Upstream, folder: Path) -> None:
        self._page, self._url, self._upstream, self._folder = page, url, upstream, folder
        self._left: list[str] = []
        page.on("request", lambda request: self._asked(request.url))

    def walk(self) -> None:
        """All of it."""
        self.enqueue()
        self.watch_it_run()
        self.see_it_fail()
        self.read_why()
        self.fix_and_retry_one()
        self.preview_the_rest()
        self.retry_the_rest()

    def enqueue(self) -> None:
        self._upstream.always(NOODLES, _after(6, FORBIDDEN))
        self._page.goto(f"{self._url}/enqueue/fetch-product")
        self._page.get_by_label("Barcode").fill(NOODLES)
        self._keep("1-enqueue")
        self._page.get_by_role("button", name="Enqueue fetch_product").click()
        expect(self._page.get_by_role("status")).to_contain_text("Enqueued fetch_product.")

    def watch_it_run(self) -> None:
        expect(self._page.locator("h1 .pill")).to_have_text("in progress")
        self._keep("2-running")

    def see_it_fail(self) -> None:
        # The page of the job refreshes itself.
        expect(self._page.locator("h1 .pill")).to_have_text("failed")
        for barcode in OTHERS:
            self._upstream.always(barcode, FORBIDDEN)
            self._page.goto(f"{self._url}/enqueue/fetch-product")
            self._page.get_by_label("Barcode").fill(barcode)
            self._page.get_by_role("button", name="Enqueue fetch_product").click()
        self._page.goto(f"{self._url}/jobs?state=failed")
        self._until(lambda: expect(self._page.locator("table.jobs tbody tr")).to_have_count(12, timeout=500))
        self._keep("3-failed")

    def read_why(self) -> None:
        self._page.get_by_role("link", name="fetch_product").last.click()
        expect(self._page.get_by_role("heading", name="Attempts")).to_be_visible()
        self._keep("4-why")

    def fix_and_retry_one(self) -> None:
        for barcode in (NOODLES, *OTHERS):
            self._upstream.always(barcode, _product(barcode))
        self._page.goto(f"{self._url}/errors")
        self._page.get_by_role("button", name="Retry one").first.click()
        self._until(
            lambda: expect(self._page.locator(".steps-box .state-finished")).to_be_visible(timeout=500)
        )
        self._keep("5-retry-one")

    def preview_the_rest(self) -> None:
        self._page.locator(".steps-box").get_by_role("link", name="Retry all…").click()
        expect(self._page.locator("h1")).to_have_text("Retry 11 failed jobs?")
        self._keep("6-preview")

    def retry_the_rest(self) -> None:
        self._page.get_by_role("button", name="Retry 11 jobs").click()
        expect(self._page.get_by_role("status")).to_contain_text("Retried 11 jobs.")
        self._page.goto(f"{self._url}/jobs?state=finished&type=fetch_product")
        self._until(lambda: expect(self._page.locator("table.jobs tbody tr")).to_have_count(12, timeout=500))
        self._page.goto(self._url)
        self._keep("7-healthy")
        painted = self._page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
        )
        print(f"The first paint of the overview came after {painted:.0f} ms.")
        if self._left:
            raise SystemExit(f"Requests left the origin: {self._left}")

    def _asked(self, url: str) -> None:
        if not url.startswith((self._url, "data:", "about:")):
            self._left.append(url)

    def _keep(self, name: str) -> None:
        """Take the picture of what a window shows."""
        file = self._folder / f"{name}.png"
        self._page.mouse.move(0, 0)
        self._page.screenshot(path=file, animations="disabled")
        size = file.stat().st_size
        print(f"{file}: {size / 1024:.0f} KiB", flush=True)
        if size > LARGEST:
            raise SystemExit(f"{file} is too large.")

    def _until(self, look: Callable[[], None]) -> None:
        """Reload the page until it shows what is looked for."""
        for _ in range(120):
            try:
                look()
            except AssertionError:
                self._page.wait_for_timeout(500)
                self._page.reload()
            else:
                return
        look()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bin/screens", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "screens")
    parser.add_argument("--dark", action="store_true", help="in the dark theme")
    parser.add_argument(
        "--drill", nargs="?", const="all", help="instead: the incidents of tests/walk/drill.py, or one"
    )
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if options.drill:
            page = stack.enter_context(_window("dark" if options.dark else "light"))
            drill(page, options.folder, None if options.drill == "all" else options.drill)
            return 0
        upstream = stack.enter_context(Upstream())
        url = stack.enter_context(_programs(upstream.url))
        page = stack.enter_context(_window("dark" if options.dark else "light"))
        Walk(page, url, upstream, options.folder).walk()
    return 0


@contextmanager
def _programs(upstream_url: str) -> Iterator[str]:
    """The URL of a dashboard with its worker, on a database of their own."""
    home = Path(tempfile.mkdtemp(prefix="spoils-walk-"))
    postgres = EmbeddedPostgres(home / "postgres")
    try:
        database_url = postgres.start()
        migrate_at(database_url)
        port = free_port()
        environment = {
            "DATABASE_URL": database_url,
            "PORT": str(port),
            "OPENFOODFACTS_URL": upstream_url,
            "SPOILS_ANALYZE_SECONDS": "0",
            "HEROKU_RELEASE_VERSION": "v1",
        }
        with Program("app.py", **environment) as web, Program("worker.py", **environment) as worker:
            worker.says("Worker pool started", timeout=60)
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: requests.get(f"{url}/health", timeout=10).raise_for_status(), timeout=60)
            yield url
            for program in (web, worker):
                program.stop()
    finally:
        postgres.remove()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _window(scheme: str) -> Iterator[Page]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("There is no Chromium on the PATH.")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # Chromium's sandbox does not start as root; the pages are our own.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium: Browser = playwright.chromium.launch(executable_path=found, args=arguments)
        page = chromium.new_page(
            viewport={"width": 1280, "height": 800},
            color_scheme="dark" if scheme == "dark" else "light",
            timezone_id="UTC",
        )
        page.set_default_timeout(PATIENCE_MS)
        yield page
        chromium.close()


def _after(seconds: float, behaviour: Behaviour) -> Behaviour:
    def behave(exchange: Exchange) -> None:
        exchange.wait(seconds)
        behaviour(exchange)

    return behave


def _product(barcode: str) -> Behaviour:
    product = {
        "code": barcode,
        "product_name": "Thai peanut noodle kit" if barcode == NOODLES else f"Biscuit no. {barcode[-3:]}",
        "brands": "Simply Asia",
        "ingredients_text": "Rice noodle (rice, water), peanut, sugar.",
    }
    body = json.dumps({"status": 1, "code": barcode, "product": product}).encode()
    return lambda exchange: exchange.send(200, body)


if __name__ == "__main__":
    sys.exit(main())
