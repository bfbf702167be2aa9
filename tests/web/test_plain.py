"""A plain request is read and answered as gunicorn would: the same environment, the same answer, by real gunicorn."""

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidResponseHeader, ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import given
from hypothesis import strategies as st

from spoils.web import balance
from spoils.web.plain import MAY_HOLD, Plain
from tests.programs import Web
from tests.rows import Rows
from tests.support import eventually

TOKEN = "a-token-of-some-length"
BODY = b'{"barcode": "737628064502"}'
HOST = ("Host", "spoils")
LENGTH = ("Content-Length", str(len(BODY)))
JSON = ("Content-Type", "application/json")
TRUSTED, STRANGER = "10.1.2.3", "192.0.2.1"
# What gunicorn hands to an application that would send more than an answer, and to one behind a proxy of its own.
ELSE = {"wsgi.errors", "wsgi.input", "wsgi.early_hints", "gunicorn.socket", MAY_HOLD}
_CHANGING = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}|Date: [^\r]+")


@pytest.fixture
def web(database_url: str) -> Iterator[Web]:
    with Web(database_url, SPOILS_API_TOKEN=TOKEN) as web:
        yield web


def configured() -> Config:
    config = Config()
    config.set("forwarded_allow_ips", "10.0.0.0/8")
    config.set("secure_scheme_headers", {"X-FORWARDED-PROTO": "https"})
    config.set("forwarder_headers", "")
    config.set("limit_request_line", 4094)
    config.set("limit_request_fields", 60)
    return config


CONFIG = configured()


def request(
    *headers: tuple[str, str],
    path: str = "/api/jobs/fetch-product",
    body: bytes = BODY,
    between: str = ": ",
) -> bytes:
    lines = "".join(f"{name}{between}{value}\r\n" for name, value in headers)
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def connection(address: str = STRANGER) -> Any:
    return SimpleNamespace(client=(address, 50000), server=("127.0.0.1", 8000), sock=None)


def plain(app: Any = None) -> Plain:
    return Plain(app or (lambda _environ, _start: []), CONFIG, lambda *_: None)


def by_gunicorn(data: bytes, conn: Any) -> tuple[dict[str, Any], bytes] | None:
    """The environment that gunicorn makes of it, and the body; None where it cannot be read."""
    try:
        read = Request(CONFIG, IterUnreader([data]), conn.client)
    except ParseException:
        return None
    _, environ = wsgi.create(read, conn.sock, conn.client, conn.server, CONFIG)
    environ["wsgi.multithread"] = True  # as its worker of threads says
    return {key: value for key, value in environ.items() if key not in ELSE}, environ["wsgi.input"].read()


def by_us(data: bytes, conn: Any) -> tuple[dict[str, Any], bytes] | None:
    environ = plain().environ(data, conn)
    if environ is None:
        return None
    assert environ[MAY_HOLD]
    return {key: value for key, value in environ.items() if key not in ELSE}, environ["wsgi.input"].read()


@pytest.mark.parametrize("address", [TRUSTED, STRANGER])
@pytest.mark.parametrize("scheme", ["https", "http", "HTTPS", "https,http"])
def test_a_plain_request_is_read_as_gunicorn_reads_it(address: str, scheme: str) -> None:
    data = request(
        HOST,
        ("User-Agent", "scanner/1.0 (x; y)"),
        ("ACCEPT", "*/*"),
        ("authorization", f"Bearer {TOKEN}"),
        ("Connection", "Keep-Alive"),
        ("X-Forwarded-For", "203.0.113.9, 10.0.0.1"),
        ("X-Forwarded-Proto", scheme),
        ("X-Request-Id", "  a b  "),
        JSON,
        LENGTH,
    )
    conn = connection(address)
    found = by_us(data, conn)
    assert found is not None
    assert found == by_gunicorn(data, conn)


names = st.sampled_from(
    ["Host", "hOST", "User-Agent", "Accept", "Authorization", "Connection", "Content-Type", "Content-Length", "Via",
     "X-Forwarded-For", "X-Forwarded-Proto", "X_Forwarded_Proto", "Transfer-Encoding", "Cookie", "X-Request-Id",
     "Host ", "Expect", " Host", "Upgrade", "", "A B"]
)  # fmt: skip
values = st.one_of(
    st.sampled_from(["", "27", "027", "+27", "28", "https", "keep-alive", "close", "chunked", "100-continue", "a:b"]),
    st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=12),
)  # fmt: skip


@given(
    headers=st.lists(st.tuples(names, values), max_size=6),
    path=st.sampled_from(
        ["/api/jobs/fetch-product", "/api/jobs/a%2fb", "/api/jobs/x?y=1", "/api/jobs/", "/"]
    ),
    more=st.sampled_from([b"", b"POST / HTTP/1.1\r\n\r\n"]),
    between=st.sampled_from([": ", ":", " : ", "", ":\t"]),
)
def test_whatever_is_read_here_gunicorn_reads_alike(
    headers: list[tuple[str, str]], path: str, more: bytes, between: str
) -> None:
    conn = connection(TRUSTED)
    for every in ([*headers, LENGTH], [HOST, JSON, LENGTH, *headers]):
        # Its length as it is, or nothing of this would be plain.
        length = request(LENGTH, path=path)[: -len(BODY) - 2]
        rest = request(*[one for one in every if one != LENGTH], path=path, between=between)
        data = length + rest.partition(b"\r\n")[2] + more
        if (found := by_us(data, conn)) is not None:
            assert found == by_gunicorn(data, conn)


@pytest.mark.parametrize(
    "data",
    [
        request(HOST, JSON),
        request(HOST, JSON, LENGTH).replace(b"Host: spoils", b"Host", 1),
        request(HOST, JSON, LENGTH, ("Accept", "")).replace(b"Accept: ", b"Accept", 1),
        request(HOST, JSON, ("Content-Length", "26")),
        request(HOST, JSON, ("Content-Length", "28")),
        request(HOST, JSON, ("Content-Length", "027")),
        request(HOST, JSON, LENGTH, LENGTH),
        request(HOST, HOST, JSON, LENGTH),
        request(HOST, JSON, LENGTH, ("Transfer-Encoding", "chunked")),
        request(HOST, JSON, LENGTH, ("Expect", "100-continue")),
        request(HOST, JSON, LENGTH, ("Connection", "close")),
        request(HOST, JSON, LENGTH, ("Upgrade", "h2c")),
        request(HOST, JSON, LENGTH, ("Cookie", "a=b")),
        request(HOST, JSON, LENGTH, ("X_Forwarded_Proto", "https")),
        request(HOST, JSON, LENGTH, ("User-Agent", "caf\xe9")),
        request(HOST, JSON, LENGTH, ("User-Agent", "a\tb")),
        request(HOST, JSON, LENGTH, ("User-Agent", "a\r\n b")),
        request(HOST, JSON, LENGTH, ("User-Agent", "a\nHost: b")),
        request(HOST, JSON, LENGTH, ("User-Agent", "x" * 4000)),
        request(HOST, JSON, LENGTH, path="/api/jobs/fetch%2Dproduct"),
        request(HOST, JSON, LENGTH, path="/api/jobs/batch?x=1"),
        request(HOST, JSON, LENGTH).replace(b"1.1", b"1.0", 1),
        request(HOST, JSON, LENGTH) + request(HOST, JSON, LENGTH),
        b"\r\n" + request(HOST, JSON, LENGTH),
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_gunicorn(data: bytes) -> None:
    assert plain().environ(data, connection()) is None


def test_what_comes_by_a_socket_of_the_file_system_is_left_to_gunicorn() -> None:
    conn = SimpleNamespace(client="", server="/run/web.sock", sock=None)
    assert plain().environ(request(HOST, JSON, LENGTH), conn) is None


def test_what_is_there_under_another_name_is_left_to_gunicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPT_NAME", "/api")
    assert plain().environ(request(HOST, JSON, LENGTH), connection()) is None


class _Parts:
    """An application's answer, which says when it is closed."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.parts)

    def close(self) -> None:
        self.closed += 1


def answer(
    headers: list[tuple[str, str]], parts: Iterable[bytes], *, keep: bool = True
) -> tuple[bytes, list[Any]]:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return parts

    logged: list[Any] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        served = Plain(app, CONFIG, lambda *told: logged.append(told))
        try:
            assert served.answer({}, SimpleNamespace(sock=ours), keep=keep) is keep
        except InvalidResponseHeader:
            with contextlib.suppress(BlockingIOError):
                return theirs.recv(65536), logged
            raise
        return theirs.recv(65536), logged


def test_an_answer_in_parts_goes_out_as_one_and_is_closed() -> None:
    parts = _Parts(b"one, ", b"two")
    data, logged = answer([("X-Of-Ours", "caf\xe9")], parts)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: ")
    assert b"\r\nConnection: keep-alive\r\nX-Of-Ours: caf\xe9\r\nContent-Length: 8" in head
    assert (body, parts.closed) == (b"one, two", 1)
    assert [(told[0].status, told[0].sent) for told in logged] == [("200 OK", 8)]


def test_the_last_answer_of_a_connection_says_so() -> None:
    data, _ = answer([("Content-Length", "2")], [b"ok"], keep=False)
    assert b"\r\nConnection: close\r\n" in data
    assert data.lower().count(b"content-length") == 1


def test_a_client_that_has_gone_is_told_of_and_not_kept() -> None:
    logged: list[Any] = []

    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        served = Plain(app, CONFIG, lambda *told: logged.append(told))
        assert not served.answer({}, SimpleNamespace(sock=ours), keep=True)
    assert [(told[0].status, told[0].sent) for told in logged] == [("200 OK", 0)]


def test_what_the_application_raises_is_raised_an_error_of_the_system_too() -> None:
    def app(_environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
        raise OSError("no file handles left")

    with pytest.raises(OSError, match="no file handles"):
        plain(app).answer({}, connection(), keep=True)


@pytest.mark.parametrize("name", ["X", "X: Y", "", "X\r\nY"])
@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "a\r\n\r\nb"])
def test_an_answer_with_a_header_of_two_lines_is_not_sent(name: str, value: str) -> None:
    with pytest.raises(InvalidResponseHeader):
        answer([(name, value)], [b"ok"])


@pytest.mark.process
def test_real_gunicorn_answers_a_plain_request_as_any_other(web: Web) -> None:
    for path, body, authorization, status in (
        ("fetch-product", BODY, f"Bearer {TOKEN}", 200),
        ("cleanup", b"{}", f"Bearer {TOKEN}", 200),
        ("fetch-product", BODY, "Bearer wrong", 401),
        ("fetch-product", b'{"barcode": 1}', f"Bearer {TOKEN}", 422),
        ("fetch-product", b"{", f"Bearer {TOKEN}", 400),
        ("nothing-here", BODY, f"Bearer {TOKEN}", 404),
    ):
        headers = [HOST, JSON, ("Content-Length", str(len(body))), ("Authorization", authorization)]
        answers = []
        # gunicorn reads those that have a header which means nothing to anybody. The first of all puts the job in.
        for more in ([], [], [("X-Of-Nobody", "1")]):
            with _client(web) as client:
                client.sendall(request(*headers, *more, path=f"/api/jobs/{path}", body=body))
                head, _, told = _whole(client).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            answers.append((sorted(_CHANGING.sub(b"", head).split(b"\r\n")), _CHANGING.sub(b"", told)))
        assert answers[1] == answers[2]

        def told_of(line: str = f'"POST /api/jobs/{path} HTTP/1.1" {status} ') -> None:
            assert web.output.count(line) >= 2

        eventually(told_of)


@pytest.mark.process
def test_a_process_that_has_served_its_share_of_plain_requests_is_replaced(database_url: str) -> None:
    with Web(database_url, GUNICORN_CMD_ARGS="--max-requests 3 --max-requests-jitter 0") as web:
        posted = [
            requests.post(f"{web.url}/api/jobs/fetch-product", json={"barcode": f"1000000{number}"}, timeout=14)
            for number in range(8)
        ]  # fmt: skip
        assert [one.status_code for one in posted] == [200] * 8
        web.says("Autorestarting worker after current request")


@pytest.mark.process
def test_a_client_that_leaves_before_its_answer_disturbs_nobody(web: Web, rows: Rows) -> None:
    for _ in range(5):
        client = _client(web)
        client.sendall(request(HOST, JSON, LENGTH, ("Authorization", f"Bearer {TOKEN}")))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert requests.get(f"{web.url}/health", timeout=14).json() == {"status": "ok"}
    assert "Traceback" not in web.output


@pytest.mark.process
def test_clients_that_post_without_a_pause_keep_nobody_from_the_database(database_url: str) -> None:
    over = threading.Event()

    def posts(web: Web) -> int:
        number = 0
        with _client(web) as client:
            while not over.is_set():
                client.sendall(request(HOST, JSON, LENGTH, ("Authorization", f"Bearer {TOKEN}")))
                assert _whole(client).startswith(b"HTTP/1.1 200 ")
                number += 1
        return number

    # One process has three connections.
    settings = {"SPOILS_API_TOKEN": TOKEN, "WEB_CONCURRENCY": "1"}
    with Web(database_url, **settings) as web, ThreadPoolExecutor(4) as threads:
        posting = [threads.submit(posts, web) for _ in range(4)]
        try:
            for _ in range(30):
                jobs = requests.get(
                    f"{web.url}/api/jobs/status", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=14
                )
                assert jobs.status_code == 200
                assert jobs.elapsed.total_seconds() < 5
        finally:
            over.set()
        assert all(one.result() > 10 for one in posting)


def test_processes_tell_each_other_how_many_connections_they_have() -> None:
    assert balance.is_fewest(300)  # nobody is there
    try:
        child = os.fork()
        if not child:
            balance.tell(7, 2)
            os._exit(0)
        os.waitpid(child, 0)
        assert balance.is_fewest(2)
        assert not balance.is_fewest(3)
        balance.tell(8, 1000)
        assert not balance.is_fewest(1000)
        balance.forget(7)
        assert balance.is_fewest(1000)
    finally:
        balance.forget(7)
        balance.forget(8)


@pytest.mark.process
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="sockets are counted in /proc")
def test_connections_that_stay_spread_over_the_processes(database_url: str) -> None:
    with Web(database_url, WEB_CONCURRENCY="2") as web, contextlib.ExitStack() as stack:
        children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children")
        processes = eventually(lambda: _two(children))
        had = [_sockets(one) for one in processes]

        def shares() -> list[int]:
            return sorted(_sockets(one) - before for one, before in zip(processes, had, strict=True))

        def both_serve() -> None:
            _stay(web, stack)
            assert shares()[0] >= 1

        eventually(both_serve)
        few, many = shares()
        for _ in range(many - few + 10):
            _stay(web, stack)
        few, many = shares()
        assert many - few <= 4


def _client(web: Web) -> socket.socket:
    address = urlsplit(web.url)
    return socket.create_connection((address.hostname, address.port), 30)


def _stay(web: Web, stack: contextlib.ExitStack) -> None:
    """Be one more client that keeps its connection after its answer."""
    client = stack.enter_context(_client(web))
    client.sendall(b"GET /health HTTP/1.1\r\nHost: spoils\r\n\r\n")
    assert b"200 OK" in client.recv(65536)


def _whole(client: socket.socket) -> bytes:
    """One answer, by its Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: ([0-9]+)", head)
    assert length is not None, head
    while len(body) < int(length[1]):
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


def _two(children: Path) -> list[int]:
    processes = [int(one) for one in children.read_text().split()]
    assert len(processes) == 2
    return processes


def _sockets(process: int) -> int:
    """How many sockets a process holds."""
    return sum(str(one.readlink()).startswith("socket:") for one in Path(f"/proc/{process}/fd").iterdir())
