"""Slow, idle and huge clients leave the service answering others: real gunicorn, one process, 8 threads."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from spoils.web.patient import GATHERED_BODY, is_whole
from tests.programs import Web
from tests.rows import Rows
from tests.support import eventually

GOOD = b'{"barcode": "737628064502"}'
HEAD = b"POST /api/jobs/fetch-product HTTP/1.1\r\nHost: spoils\r\nContent-Type: application/json\r\n"
CROWD = 200


@pytest.fixture
def web(database_url: str) -> Iterator[Web]:
    with Web(database_url) as web:
        yield web


@pytest.fixture
def crowd(web: Web) -> Iterator[list[socket.socket]]:
    """Connect as many clients that say nothing."""
    address = urlsplit(web.url)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((address.hostname, address.port), 30))
            for _ in range(CROWD)
        ]


def answers(web: Web) -> None:
    """The service answers somebody else, who also puts a job in."""
    assert requests.get(f"{web.url}/health", timeout=14).json() == {"status": "ok"}
    posted = requests.post(f"{web.url}/api/jobs/fetch-product", json={"barcode": "737628064502"}, timeout=14)
    assert posted.status_code == 200


def received(client: socket.socket, ending: bytes) -> bytes:
    """All that comes up to `ending`, in however many pieces it comes."""
    answer = b""
    while ending not in answer:
        block = client.recv(4096)
        assert block, answer
        answer += block
    return answer


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"\r\n\r\n", False),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", True),
        (HEAD + b"Content-Length: 3\r\n\r\nab", False),
        (HEAD + b"content-length:3\r\n\r\nabc", True),
        (HEAD + b"Content-Length: x\r\n\r\n", True),
        (HEAD + b"Content-Length: 99999999\r\n\r\n", True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"x" * GATHERED_BODY, True),
        (b"x" * 70_000, True),
    ],
)
def test_a_request_is_whole_when_a_thread_need_not_wait_for_its_rest(data: bytes, whole: bool) -> None:
    assert is_whole(data) is whole


@pytest.mark.process
def test_two_hundred_idle_connections_keep_nobody_out(web: Web, crowd: list[socket.socket]) -> None:
    answers(web)


@pytest.mark.process
def test_two_hundred_that_send_a_byte_now_and_then_keep_nobody_out_and_are_let_go(
    web: Web, crowd: list[socket.socket]
) -> None:
    stop = threading.Event()
    parts = (
        HEAD[:30],
        HEAD + b"X: ",
        HEAD + b"Content-Length: 99\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n",
    )
    for number, client in enumerate(crowd):
        client.sendall(parts[number % len(parts)])

    def drip() -> None:
        while not stop.wait(0.5):
            for client in crowd:
                with contextlib.suppress(OSError):
                    client.send(b"1")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        for _ in range(3):
            answers(web)

        def all_are_let_go() -> None:
            for client in crowd:
                client.settimeout(0.05)
                # Closed with bytes of its own unread, a connection may be reset instead.
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    assert client.recv(1) == b""

        eventually(all_are_let_go, timeout=40)
    finally:
        stop.set()
        dripping.join()


@pytest.mark.process
def test_clients_that_neither_close_nor_read_after_their_answer_keep_nobody_out(
    web: Web, crowd: list[socket.socket]
) -> None:
    for client in crowd[:100]:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: spoils\r\nConnection: close\r\n\r\n")
    answers(web)


@pytest.mark.process
def test_half_a_request_behind_a_whole_one_takes_no_thread(web: Web, crowd: list[socket.socket]) -> None:
    for client in crowd[:50]:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: spoils\r\n\r\n" + HEAD)
    answers(web)
    assert b"200 OK" in received(crowd[0], b'{"status":"ok"}')
    crowd[0].sendall(b"Content-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD))
    assert b"200 OK" in received(crowd[0], b"737628064502")


@pytest.mark.process
def test_a_body_of_100_mb_is_refused_at_once_while_others_are_answered(web: Web, rows: Rows) -> None:
    address = urlsplit(web.url)
    told: list[bytes] = []

    def send_it() -> None:
        with socket.create_connection((address.hostname, address.port), 30) as client:
            client.sendall(HEAD + b"Content-Length: 100000000\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    client.sendall(b" " * 1_000_000)
            with contextlib.suppress(OSError):
                told.append(client.recv(4096))

    senders = [threading.Thread(target=send_it) for _ in range(4)]
    for sender in senders:
        sender.start()
    answers(web)
    for sender in senders:
        sender.join()
    answers(web)
    assert all(b" 413 " in one or not one for one in told)
    small = requests.post(
        f"{web.url}/api/jobs/fetch-product",
        data=b" " * 70_000,
        headers={"Content-Type": "application/json"},
        timeout=14,
    )
    assert small.status_code == 413
    assert rows.value("SELECT count(*) FROM fang_tasks") == 1


@pytest.mark.process
def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(web: Web) -> None:
    address = urlsplit(web.url)
    with socket.create_connection((address.hostname, address.port), 30) as client:
        client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(GOOD))
        assert received(client, b"\r\n\r\n").startswith(b"HTTP/1.1 100 Continue")
        client.sendall(GOOD)
        assert b"HTTP/1.1 200 OK" in received(client, b"737628064502")


@pytest.mark.process
def test_a_stopping_server_does_not_wait_for_clients_that_say_nothing(
    web: Web, crowd: list[socket.socket]
) -> None:
    answers(web)
    web.process.terminate()
    assert web.ends(15) == 0


@pytest.mark.process
@pytest.mark.parametrize("pieces", [1, 2, 40])
def test_a_request_that_follows_at_once_is_answered_in_whatever_pieces_it_comes(
    web: Web, rows: Rows, pieces: int
) -> None:
    address = urlsplit(web.url)
    with socket.create_connection((address.hostname, address.port), 30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(1, 6):
            body = b'{"barcode": "1000000%d"}' % number
            request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
            size = -(-len(request) // pieces)
            for start in range(0, len(request), size):
                client.sendall(request[start : start + size])
            assert received(client, b"}\n").startswith(b"HTTP/1.1 200 OK")
            assert rows.value("SELECT count(*) FROM fang_tasks") == number
    answers(web)
