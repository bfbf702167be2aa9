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

from spoils.web.unread import answer_to

GATHER_SECONDS = 15.0
"""How long a client may take to send a request; one that says nothing at all is let go then too."""
GATHERED_BODY = 72 * 1024
"""Bytes of a body that are waited for: more than is taken without a token. The rest a thread reads."""
GATHERED_HEAD = 64 * 1024
LINGER_SECONDS = 2.0
STAY_SECONDS = 0.005
"""How long a thread stays with a connection for its next request: handing it over costs more than a short request."""
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
        kept = super().handle(conn)
        while kept is True and self.alive and self._follows(conn):
            kept = super().handle(conn)
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
        # A stopping worker waits for requests that are being sent, and not long for clients that send none.
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

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

    def _follows(self, conn: Any) -> bool:
        """Whether the next request is there, whole, within a moment. Half of the threads never wait so."""
        unreader = conn.parser.unreader
        if unreader.buf.getvalue():
            return False
        try:
            self._stays.get_nowait()
        except Empty:
            return False
        try:
            conn.sock.settimeout(STAY_SECONDS)
            data = conn.sock.recv(READ_AT_ONCE)
        except OSError:
            return False  # nothing came, or it broke off, which the poller sees as its end
        finally:
            self._stays.put(None)
        # What is not whole the poller takes from the unreader, and an end it sees itself.
        unreader.unread(data)
        return bool(data) and is_whole(data)

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
