"""gunicorn's threaded worker, in which a slow client costs a connection and never a thread."""

import re
import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from queue import Empty, SimpleQueue
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from spoils.db import held
from spoils.web import balance
from spoils.web.plain import Plain
from spoils.web.unread import answer_to

GATHER_SECONDS = 15.0
"""How long a client may take to send a request; one that says nothing at all is let go then too."""
GATHERED_BODY = 72 * 1024
"""Bytes of a body that are waited for: more than is taken without a token. The rest a thread reads."""
GATHERED_HEAD = 64 * 1024
LINGER_SECONDS = 2.0
STAY_SECONDS = 0.005
"""How long a thread stays with a connection for its next request: handing it over costs more than a short request."""
YIELD_SECONDS = 0.001
"""How long a process leaves a new connection to one that has fewer."""
READ_AT_ONCE = 64 * 1024

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)


def is_whole(data: bytes) -> bool:
    """Whether a thread can read the request in `data` without waiting for its client. Whatever is odd is let pass."""
    data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return len(data) >= GATHERED_HEAD
    head, body = data[: end + 2], data[end + 4 :]
    if len(body) >= GATHERED_BODY:
        return True
    if _CHUNKED.search(head):
        return body.endswith(b"0\r\n\r\n")
    length = _LENGTH.search(head)
    return length is None or len(body) >= int(length[1]) or int(length[1]) > GATHERED_BODY


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """Hands a connection to a thread when its request is there, and not when its first byte is.

    gunicorn reads the head and the body in the thread, so as many slow clients as there are threads keep everybody
    else out; and it waits up to 2 s in its one loop for each client to close. Both are done by the poller here.
    """

    alive: bool
    _accepts = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lingering: deque[tuple[float, socket.socket]] = deque()
        self._stays: SimpleQueue[None] = SimpleQueue()
        for _ in range(max(1, self.cfg.threads // 2)):
            self._stays.put(None)

    def init_process(self) -> None:
        """Begin to serve, with the settings at hand: each is looked up by a search otherwise, dozens for a request."""
        settings: Any = vars(self.cfg)
        settings.update((name, setting.get()) for name, setting in self.cfg.settings.items())
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application, whose plain requests are served without gunicorn's parser."""
        super().load_wsgi()
        self._plain = Plain(self.wsgi, self.cfg, self.log.access)
        self._accepts = True
        balance.tell(self.age, self.nr_conns)

    @property
    def nr_conns(self) -> int:
        """How many connections this process has; gunicorn counts them."""
        return self._connections

    @nr_conns.setter
    def nr_conns(self, number: int) -> None:
        self._connections = number
        if self._accepts:
            balance.tell(self.age, number)

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection, unless a process that has fewer of them does in the next moment."""
        if not balance.is_fewest(self.nr_conns):
            time.sleep(YIELD_SECONDS)
        super().accept(listener)

    def enqueue_req(self, conn: Any) -> None:
        """Gather the next request of `conn`; every way to a thread leads through here."""
        if not conn.initialized:
            conn.init()
            conn.data_ready = True
            conn.close = partial(self._close, conn)
        conn.gathered = bytearray(conn.parser.unreader.take_buffered())
        conn.continued = False
        conn.sock.setblocking(False)
        if is_whole(conn.gathered) or self._arrived(conn):
            self._pass_on(conn)
            return
        conn.timeout = time.monotonic() + GATHER_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._gather, conn))

    def handle(self, conn: Any) -> Any:
        """Serve the request of `conn` in this thread, and those that follow at once."""
        try:
            kept = self._serve(conn, conn.parser.unreader.take_buffered())
            while kept is True and self.alive and (data := self._following(conn)):
                kept = self._serve(conn, data)
        finally:
            held.let_go()
        return kept

    def handle_error(self, _req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Say what is wrong with a request that cannot be read, as the application says what is wrong with others."""
        status, answer = answer_to(exc, self.cfg)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("A request broke down", exc_info=exc)
        else:
            # By its kind alone: its words may hold a header, and what a client keeps secret in it.
            self.log.warning("Answered %d to %s: %s", status, addr[0] if addr else "-", type(exc).__name__)
        with suppress(OSError):
            client.sendall(answer)

    def murder_pending(self) -> None:
        """Let go who has taken too long to send a request, or to close."""
        super().murder_pending()
        while self._lingering and (
            self._lingering[0][0] <= time.monotonic() or self._lingering[0][1].fileno() < 0
        ):
            self._forget(self._lingering.popleft()[1])

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)
        self._accepts = False
        balance.forget(self.age)
        # A stopping worker waits for requests that are being sent, and not long for clients that send none.
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def _serve(self, conn: Any, data: bytes) -> Any:
        """Serve the request that begins with `data`."""
        environ = self._plain.environ(data, conn)
        if environ is None:
            held.let_go()  # gunicorn may wait for its client
            conn.parser.unreader.unread(data)
            return super().handle(conn)
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        keep = self.alive and self.cfg.keepalive > 0 and len(self.keepalived_conns) < self.max_keepalived
        conn.sock.setblocking(True)
        try:
            return self._plain.answer(environ, conn, keep=keep)
        except Exception as exc:  # noqa: BLE001 - it becomes an answer
            self.handle_error(None, conn.sock, conn.client, exc)
            return False

    def _gather(self, conn: Any, _sock: socket.socket) -> None:
        if self._arrived(conn):
            self.poller.unregister(conn.sock)
            self.pending_conns.remove(conn)
            self._pass_on(conn)

    def _arrived(self, conn: Any) -> bool:
        """Read what has come of a request; whether it is whole now, or its client has gone."""
        try:
            data = conn.sock.recv(READ_AT_ONCE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
            conn.gathered.clear()
        conn.gathered += data
        if data and not is_whole(conn.gathered):
            self._bid_go_on(conn)
            return False
        return True

    def _following(self, conn: Any) -> bytes:
        """The next request, if it is there, whole, within a moment. Half of the threads never wait so."""
        unreader = conn.parser.unreader
        if unreader.buf.getvalue():
            return b""
        try:
            self._stays.get_nowait()
        except Empty:
            return b""
        try:
            conn.sock.settimeout(STAY_SECONDS)
            data: bytes = conn.sock.recv(READ_AT_ONCE)
        except OSError:
            return b""  # nothing came, or it broke off, which the poller sees as its end
        finally:
            self._stays.put(None)
        if data and is_whole(data):
            return data
        # What is not whole the poller takes from the unreader, and an end it sees itself.
        unreader.unread(data)
        return b""

    def _pass_on(self, conn: Any) -> None:
        if not conn.gathered:
            self.nr_conns -= 1
            conn.close()
            return
        # Where it broke off, gunicorn answers what is wrong.
        conn.parser.unreader.unread(bytes(conn.gathered))
        conn.gathered = bytearray()
        super().enqueue_req(conn)

    def _bid_go_on(self, conn: Any) -> None:
        """Some clients send a body only when they are asked to."""
        head, end, _ = bytes(conn.gathered).partition(b"\r\n\r\n")
        if end and not conn.continued and _EXPECTS.search(head + b"\r\n"):
            conn.continued = True
            with suppress(OSError):
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _close(self, conn: Any, graceful: bool = False) -> None:
        """Close it; gracefully, by reading on for a while: what a client still sends would cut its answer."""
        sock: socket.socket = conn.sock
        try:
            if not graceful or not self.alive:
                sock.close()
                return
            sock.setblocking(False)
            sock.shutdown(socket.SHUT_WR)
            self.poller.register(sock, selectors.EVENT_READ, self._linger)
            self._lingering.append((time.monotonic() + LINGER_SECONDS, sock))
        except (OSError, ValueError, KeyError):
            sock.close()

    def _linger(self, sock: socket.socket) -> None:
        try:
            over = not sock.recv(READ_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            over = True
        if over:
            self._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            with suppress(OSError, ValueError, KeyError):
                self.poller.unregister(sock)
            sock.close()
