"""Slow, idle and hostile clients: what the program holds by itself, and what it holds behind `deploy/nginx.conf`."""

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.nginx import nginx_before
from tests.programs import Web, children
from tests.support import eventually

pytestmark = pytest.mark.process

HEAD = b"POST /api/jobs/fetch-product HTTP/1.1\r\nHost: spoils\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LONG = b"Content-Length: 60000\r\n\r\n"
CROWD = 200


@pytest.fixture
def web(database_url: str) -> Iterator[Web]:
    with Web(database_url) as web:
        yield web


@pytest.fixture
def few_threads(database_url: str) -> Iterator[Web]:
    with Web(database_url, GUNICORN_CMD_ARGS="--threads 2") as web:
        yield web


def most_are_accepted(web: Web) -> None:
    assert any(len([*Path(f"/proc/{pid}/fd").iterdir()]) > 500 for pid in web.children)


def limit_files(pid: int, number: int) -> None:
    """As under `ulimit -n`, for a process and its children."""
    for one in (pid, *children(pid)):
        resource.prlimit(one, resource.RLIMIT_NOFILE, (number, number))


def connect(stack: contextlib.ExitStack, url: str, sent: bytes = b"") -> socket.socket:
    address = urlsplit(url)
    client = stack.enter_context(socket.create_connection((address.hostname, address.port), 30))
    client.sendall(sent)
    return client


@contextlib.contextmanager
def dripping(clients: list[socket.socket], every: float = 0.5) -> Iterator[None]:
    """Send a byte for each of them every so often, for as long as the connection stands."""
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(every):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(b"1")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def answered(url: str, barcode: str = "737628064502") -> None:
    """The service answers somebody else, who also enqueues a job."""
    assert requests.get(f"{url}/health", timeout=25).json() == {"status": "ok"}
    posted = requests.post(f"{url}/api/jobs/fetch-product", json={"barcode": barcode}, timeout=25)
    assert posted.status_code == 200


def outcome(client: socket.socket) -> bytes:
    """The status that this client got, b"" where the connection was closed without one; fails where neither is so."""
    client.settimeout(0.1)
    try:
        return client.recv(4096)[9:12]
    except TimeoutError:
        raise AssertionError("neither answered nor closed") from None
    except OSError:
        return b""


def send_bad_requests(url: str, number: int) -> None:
    """On a connection each, of which the last hundred stay open, unread."""
    clients: list[socket.socket] = []
    address = urlsplit(url)
    try:
        for _ in range(number):
            client = socket.create_connection((address.hostname, address.port), 30)
            with contextlib.suppress(OSError):
                client.sendall(b"bad\r\n\r\n")
            clients.append(client)
            if len(clients) > 100:
                clients.pop(0).close()
    finally:
        for client in clients:
            client.close()


# Two of each are more than the two threads that the server has here.
SLOW = (HEAD + LONG + b"{", HEAD + CHUNKED + b"f000\r\n0\r\n\r\n")
REFUSED = {
    b"POST /login HTTP/1.1\r\nHost: spoils\r\nContent-Type: application/json\r\n" + LONG: b"503",
    b"POST /nothing HTTP/1.1\r\nHost: spoils\r\n" + LONG: b"404",
    b"PUT /api/jobs/status HTTP/1.1\r\nHost: spoils\r\n" + CHUNKED + b"f000\r\n": b"405",
    HEAD + b"Content-Length: 100000000000000000000\r\n\r\n": b"413",
}


def test_a_head_that_stops_frees_its_thread(few_threads: Web) -> None:
    with contextlib.ExitStack() as stack:
        clients = [connect(stack, few_threads.url, HEAD[:30]) for _ in range(4)]
        assert [eventually(lambda one=client: outcome(one), 60) for client in clients] == [b""] * 4  # type: ignore[misc]
        answered(few_threads.url)


def test_a_body_that_drips_is_cut_off_at_its_deadline(few_threads: Web) -> None:
    with contextlib.ExitStack() as stack:
        clients = [connect(stack, few_threads.url, sent) for sent in SLOW * 2]
        with dripping(clients):
            got = [eventually(lambda one=client: outcome(one), 60) for client in clients]  # type: ignore[misc]
            answered(few_threads.url)
    assert set(got) <= {b"400", b""}
    assert b"400" in got
    assert "Traceback" not in few_threads.output


def test_a_body_that_drips_is_not_read_where_the_request_is_refused_anyway(few_threads: Web) -> None:
    with contextlib.ExitStack() as stack:
        clients = {connect(stack, few_threads.url, sent): status for sent, status in REFUSED.items()}
        with dripping([*clients]):
            for client, status in clients.items():
                assert eventually(lambda one=client: outcome(one), 10) == status  # type: ignore[misc]
            answered(few_threads.url)


def test_more_connections_than_files_end_no_process(web: Web) -> None:
    limit_files(web.process.pid, 600)
    with contextlib.ExitStack() as stack:
        for _ in range(700):
            connect(stack, web.url)
        eventually(lambda: most_are_accepted(web), 30)
    eventually(lambda: answered(web.url), 60)
    assert "Too many open files" not in web.output
    assert len([line for line in web.lines if "Booting worker" in line]) == 1


@pytest.fixture
def proxied(web: Web, tmp_path: Path) -> Iterator[str]:
    limit_files(web.process.pid, 1024)
    with nginx_before(web, folder=tmp_path) as url:
        answered(url)
        yield url


def test_behind_nginx_a_crowd_of_slow_and_hostile_clients_leaves_others_answered(proxied: str) -> None:
    heads = (b"GET / HTTP/1.1\r\n", HEAD + b"X: ")
    bodies = (HEAD + LONG + b"{", HEAD + CHUNKED + b"f000\r\n0\r\n\r\n")
    with contextlib.ExitStack() as stack:
        slow_heads = [connect(stack, proxied, heads[one % 2]) for one in range(CROWD)]
        slow_bodies = [connect(stack, proxied, bodies[one % 2]) for one in range(CROWD)]
        for _ in range(CROWD):
            connect(stack, proxied)
        with dripping([*slow_heads, *slow_bodies]):
            for number in range(5):
                answered(proxied, f"100000{number}0")
            send_bad_requests(proxied, 3_500)
            for number in range(5):
                answered(proxied, f"100000{number}1")


def test_behind_nginx_a_body_of_100_mb_is_refused_while_others_are_answered(proxied: str) -> None:
    outcomes: list[bytes] = []

    def send_it() -> None:
        with contextlib.ExitStack() as stack:
            client = connect(stack, proxied, HEAD + b"Content-Length: 100000000\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    client.sendall(b" " * 1_000_000)
            outcomes.append(outcome(client))

    senders = [threading.Thread(target=send_it) for _ in range(20)]
    for sender in senders:
        sender.start()
    answered(proxied)
    for sender in senders:
        sender.join()
    answered(proxied)
    assert len(outcomes) == 20
    assert set(outcomes) <= {b"413", b""}


def test_behind_nginx_a_form_is_posted_and_a_static_file_compressed(proxied: str) -> None:
    origin = {"Origin": proxied}
    assert (
        requests.post(f"{proxied}/login", headers=origin, timeout=25).status_code == 503
    )  # closed, not foreign
    posted = requests.post(
        f"{proxied}/api/jobs/fetch-product", json={"barcode": "10000009"}, headers=origin, timeout=25
    )
    assert posted.status_code == 200
    styles = requests.get(f"{proxied}/static/base.css", timeout=25)
    assert styles.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in requests.get(f"{proxied}/api/docs", timeout=25).headers
