"""The API over real HTTP, served by gunicorn as in production: requests that Flask's test client cannot send."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests

from tests.programs import Web
from tests.rows import Rows

pytestmark = pytest.mark.process

GOOD = b'{"barcode": "737628064502"}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def web(database_url: str) -> Iterator[Web]:
    with Web(database_url) as web:
        yield web


def raw(web: Web, *parts: bytes, timeout: float = 15) -> bytes:
    """Send these bytes, stop sending, and return all that comes back."""
    address = urlsplit(web.url)
    with socket.create_connection((address.hostname, address.port), timeout) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while block := connection.recv(65536):
                answer += block
        return answer


def request(head: str, body: bytes = b"") -> bytes:
    fixed = "Host: spoils\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}\r\n{fixed}".encode() + body


def test_a_chunked_body_may_have_64_kib(web: Web, rows: Rows) -> None:
    def post(pieces: Iterator[bytes]) -> requests.Response:
        return requests.post(f"{web.url}/api/jobs/fetch-product", data=pieces, headers=JSON, timeout=15)

    fits = post(iter([GOOD[:9], GOOD[9:]]))
    assert (fits.status_code, fits.json()["barcode"]) == (200, "737628064502")
    rows.all("DELETE FROM fang_tasks RETURNING id")
    too_much = post(iter([GOOD, *([b" " * 8192] * 9)]))
    assert too_much.status_code == 413
    assert too_much.json() == {"error": "The request is too large: at most 64 KiB are allowed."}
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


FETCH = "POST /api/jobs/fetch-product HTTP/1.1"
STATUS = "GET /api/jobs/status HTTP/1.1"
BROKEN_BODIES = {
    "shorter than told": b"Content-Length: 99\r\n\r\n" + GOOD,
    "no chunk": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD + b"\r\n0\r\n\r\n",
    "half a chunk": b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + GOOD,
}
BROKEN_HEADS = {
    "a length that is no number": (400, request(FETCH, b"Content-Length: x\r\n\r\n" + GOOD)),
    "a negative length": (400, request(FETCH, b"Content-Length: -1\r\n\r\n" + GOOD)),
    "two lengths": (
        400,
        request(FETCH, b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ),
    "an encoding nobody knows": (501, request(FETCH, b"Transfer-Encoding: br\r\n\r\n" + GOOD)),
    "an expectation": (417, request(FETCH, b"Expect: a miracle\r\n\r\n")),
    "NUL": (400, request("GET /api/products/\x00 HTTP/1.1", b"\r\n")),
    "a long path": (414, request("GET /" + "a" * 5_000 + " HTTP/1.1", b"\r\n")),
    "a long header": (431, request(STATUS, b"X: " + b"a" * 10_000 + b"\r\n\r\n")),
    "a hundred headers": (
        431,
        request(STATUS, b"".join(b"X%d: a\r\n" % one for one in range(100)) + b"\r\n"),
    ),
    "a header without a colon": (400, request(STATUS, b"Authorization Bearer x\r\n\r\n")),
    "no version": (400, b"GET /api/jobs/status\r\n\r\n"),
    "version 9": (400, request("GET /api/jobs/status HTTP/9.9", b"\r\n")),
    "nothing": (400, b"\r\n\r\n\r\n"),
}


def test_a_broken_body_enqueues_nothing_and_is_answered_as_any_wrong_request(web: Web, rows: Rows) -> None:
    for name, sent in BROKEN_BODIES.items():
        head, _, body = raw(web, request(FETCH, sent)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 "), name
        assert b"\r\nContent-Type: application/json\r\n" in head
        assert b"\r\nX-Frame-Options: DENY\r\n" in head + b"\r\n"
        assert json.loads(body)["error"].endswith(".")
    still_well(web, rows)


def test_a_broken_head_enqueues_nothing_and_is_refused_by_gunicorn(web: Web, rows: Rows) -> None:
    for name, (status, sent) in BROKEN_HEADS.items():
        assert raw(web, sent).startswith(b"HTTP/1.1 %d " % status), name
    assert raw(web, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") == b""  # TLS
    still_well(web, rows)


def still_well(web: Web, rows: Rows) -> None:
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    assert requests.get(f"{web.url}/health", timeout=15).status_code == 200
    assert "Internal error" not in web.output
    assert "Traceback" not in web.output


@pytest.mark.parametrize("trailer", [b"", b"X-Checksum: 1\r\n"], ids=["plain", "with a trailer"])
def test_a_chunked_request_and_the_next_one_on_its_connection_are_answered(web: Web, trailer: bytes) -> None:
    chunked = b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(GOOD), GOOD, trailer)
    kept = f"{FETCH}\r\nHost: spoils\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = raw(web, kept.encode() + chunked, request(STATUS, b"\r\n"))
    assert answers.count(b"HTTP/1.1 200 OK") == 2, answers


def test_posts_of_one_barcode_at_once_through_two_processes_leave_one_row(
    database_url: str, rows: Rows
) -> None:
    with Web(database_url, WEB_CONCURRENCY="2") as web:
        ready = threading.Barrier(20)

        def post() -> tuple[int, str]:
            ready.wait()
            answer = requests.post(f"{web.url}/api/jobs/fetch-product", data=GOOD, headers=JSON, timeout=15)
            return answer.status_code, answer.json()["id"]

        with ThreadPoolExecutor(20) as pool:
            answers = {posted.result() for posted in [pool.submit(post) for _ in range(20)]}
    assert len(answers) == 1
    assert rows.value("SELECT count(*) FROM fang_tasks") == 1


def test_no_client_can_forge_a_line_of_the_log_or_steer_the_terminal_that_shows_it(web: Web) -> None:
    forged = b"2026-11-24T02:00:00.000Z INFO forged"
    raw(web, request("GET /api/jobs/%0d%0a%1b[2J HTTP/1.1", b"User-Agent: \x1b[2J\x9b31m\x07evil\r\n\r\n"))
    raw(web, request("GET /api/jobs/\x1b[2J?\x1b[31m HTTP/1.1", b"Referer: \x1b]0;evil\x07\r\n\r\n"))
    raw(web, request("GET /api/products/%0a" + forged.decode().replace(" ", "%20") + " HTTP/1.1", b"\r\n"))
    raw(web, request("POST /api/jobs/fetch-product HTTP/1.1", b"Content-Length: 9\r\n\r\n\x1b[2J\r\n\x1b[3"))
    web.says("POST /api/jobs/fetch-product")
    assert not [line for line in web.lines if "\x1b" in line or "\x9b" in line or "\x07" in line]
    assert not [line for line in web.lines if line.startswith(forged.decode())]
