"""How long each page of the dashboard takes over a long table, how much the web program grows, and what it counts."""

import http.client
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from urllib.parse import quote, urlencode

from spoils.web.paging import encode
from tests.bench.history import RARE
from tests.bench.server import ask
from tests.bench.smallness import MIB, resident
from tests.programs import Web

PASSWORD = "bench-password-of-some-length"
WARMING = 3
OTHERS = ("/schedules", "/workers", "/enqueue", "/enqueue/fetch-product", "/products", "/audit", "/api/docs")
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_SCANS = "SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_user_tables WHERE relname IN ('fang_tasks', 'spoils_attempts')"


@dataclass(frozen=True, slots=True)
class Taken:
    """Of one page: milliseconds from the request to the last byte, sorted, and bytes of growth over all of them."""

    name: str
    milliseconds: list[float]
    grown: int
    bytes: int

    @property
    def p50(self) -> float:
        return median(self.milliseconds)

    @property
    def p95(self) -> float:
        return self.milliseconds[int(len(self.milliseconds) * 0.95)]


class Visitor:
    """An admin of a dashboard under gunicorn."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        self._cookie = ""
        token = _TOKEN.search(self.get("/login").decode())
        assert token
        form = urlencode({"csrf_token": token[1], "password": PASSWORD})
        status, _ = self._ask("POST", "/login", form, {"Content-Type": "application/x-www-form-urlencoded"})
        assert status == 303, status

    def get(self, path: str) -> bytes:
        """A page, which is whole."""
        status, body = self._ask("GET", path)
        assert status == 200, f"{status} {path}"
        assert b"Some data could not be loaded" not in body, path
        return body

    def takes(self, path: str) -> tuple[float, int]:
        """Milliseconds from the request to the last byte, as a browser asks for it; and how many bytes came."""
        begun = time.perf_counter()
        status, body = self._ask("GET", path, headers={"Accept-Encoding": "gzip"})
        taken = (time.perf_counter() - begun) * 1000
        assert status == 200, f"{status} {path}"
        return taken, len(body)

    def _ask(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        given = {**(headers or {}), "Cookie": self._cookie, "Authorization": f"Bearer {PASSWORD}"}
        self._connection.request(method, path, body, given)
        answer = self._connection.getresponse()
        for one in answer.headers.get_all("Set-Cookie", []):
            self._cookie = one.partition(";")[0]
        return answer.status, answer.read()


class Dashboard:
    """The web program over a long table, its pages warm, and what it takes from then on."""

    def __init__(self, url: str, web: Web) -> None:
        self._url = url
        self._pages = addresses(url)
        self._visitor = Visitor(web.url)
        self._pid = web.children[0]
        for _ in range(WARMING):
            for path in self._pages.values():
                self._visitor.get(path)
        self._scans, self._resident = self._scanned(), resident(self._pid)

    def takes(self, requests: int) -> Iterator[Taken]:
        """Request each page this many times."""
        for name, path in self._pages.items():
            before = resident(self._pid)
            answers = [self._visitor.takes(path) for _ in range(requests)]
            grown = max(0, resident(self._pid) - before)
            yield Taken(name, sorted(milliseconds for milliseconds, _ in answers), grown, answers[0][1])

    def afterwards(self) -> dict[str, float]:
        """What it all has cost: MiB of growth, and reads of a whole table; and how many counts are wrong."""
        return {
            "MiB that the web program grew": (resident(self._pid) - self._resident) / MIB,
            "reads of a whole table of jobs or attempts": self._scanned() - self._scans,
            "counts that differ from count(*)": counts_differ(self._url),
        }

    def _scanned(self) -> int:
        # A session reports its scans with its next statement after a second, or when it has been idle for ten.
        threading.Event().wait(12)
        return int(ask(self._url, _SCANS)[0])


@contextmanager
def dashboard(url: str) -> Iterator[Dashboard]:
    """The dashboard under gunicorn, with one process, as an admin sees it."""
    with Web(url, SPOILS_ADMIN_PASSWORD=PASSWORD, SECRET_KEY=PASSWORD, SPOILS_API_TOKEN=PASSWORD) as web:
        yield Dashboard(url, web)
        web.stop()


def counts_differ(url: str) -> int:
    """How many of the counts by type and state are not what `count(*)` says."""
    return int(
        ask(
            url,
            "SELECT count(*) FROM (SELECT task_type, state, sum(delta) AS n FROM spoils_counts GROUP BY 1, 2) AS kept "
            "FULL JOIN (SELECT task_type, state::text, count(*) AS n FROM fang_tasks GROUP BY 1, 2) AS found "
            "USING (task_type, state) WHERE coalesce(kept.n, 0) <> coalesce(found.n, 0)",
        )[0]
    )


def addresses(url: str) -> dict[str, str]:
    """Every page, by what it shows; lists at their beginning, middle and end."""
    pages = {
        "overview, 1 h": "/",
        "overview, 24 h": "/?range=24h",
        "overview, 7 d": "/?range=7d&type=analyze_ingredients&types=all",
        "jobs": "/jobs",
        "jobs of a type": "/jobs?type=fetch_product",
        "jobs of a rare type": f"/jobs?type={RARE}",
    }
    for state in ("new", "in_progress", "retried", "failed", "finished"):
        pages[f"jobs {state}"] = f"/jobs?state={state}"
        pages[f"jobs {state} of a type"] = f"/jobs?state={state}&type=send_notification"
    for state in ("new", "failed", "finished"):
        for place, share in (("middle", 0.5), ("end", 0.0)):
            key = _key(url, state, share)
            pages[f"jobs {state}, {place}"] = f"/jobs?state={state}&older={key}"
            pages[f"jobs {state}, {place}, back"] = f"/jobs?state={state}&newer={key}"
        pages[f"one job {state}"] = f"/jobs/{_some(url, state)}"
    pages["jobs, middle"] = f"/jobs?older={_key(url, 'finished', 0.5)}"
    pages["jobs finished of a rare type"] = f"/jobs?state=finished&type={RARE}"
    pages["one job in_progress"] = f"/jobs/{_some(url, 'in_progress')}"
    pages["one job retried"] = f"/jobs/{_some(url, 'retried')}"
    pages["search of a barcode"] = "/jobs?q=barcode:737628064502"
    pages["search of a field"] = "/jobs?q=user_id:123"
    pages["search of words"] = "/jobs?q=unavailable+503"
    pages["search of words that no error has"] = "/jobs?q=segmentation+fault"
    pages["errors"] = "/errors"
    pages["errors, 24 h"] = "/errors?window=24h"
    pages["errors since a release"] = "/errors?since=v143"
    pages["a group of errors"] = "/errors/group-0"
    pages["a small group of errors"] = "/errors/group-3"
    for action, query in (
        ("retry all failed", "verb=retry&all=1&state=failed"),
        ("delete all finished", "verb=delete&all=1&state=finished"),
        ("delete all finished of a type", "verb=delete&all=1&state=finished&type=fetch_product"),
        ("cancel all new", "verb=cancel&all=1&state=new"),
        ("retry a group", "verb=retry&all=1&state=failed&group=group-0"),
    ):
        pages[f"preview: {action}"] = f"/bulks/new?{query}"
    pages |= {path: path for path in OTHERS}
    pages["products, end"] = f"/products?older={quote(_last_product(url))}"
    pages["a product"] = "/products/2000000000100"
    pages["metrics"] = "/metrics"
    return pages


def _key(url: str, state: str, share: float) -> str:
    """The place in the list of a state, `share` of the way from its oldest job on."""
    of_state = f"FROM fang_tasks WHERE state = '{state}'"
    (oldest,) = ask(url, f"SELECT updated_at {of_state} ORDER BY updated_at, id LIMIT 1")
    (newest,) = ask(url, f"SELECT updated_at {of_state} ORDER BY updated_at DESC, id DESC LIMIT 1")
    moment, task_id = ask(
        url,
        f"SELECT updated_at, id {of_state} AND updated_at >= '{oldest + (newest - oldest) * share}' "
        "ORDER BY updated_at, id OFFSET 30 LIMIT 1",
    )
    return encode(moment, task_id)


def _some(url: str, state: str) -> str:
    return str(ask(url, f"SELECT id FROM fang_tasks WHERE state = '{state}' LIMIT 1")[0])


def _last_product(url: str) -> str:
    return encode(*ask(url, "SELECT updated_at, id FROM products ORDER BY updated_at, id OFFSET 30 LIMIT 1"))
