"""A small Open Food Facts of our own on loopback, that can be told to have a bad day.

with Upstream() as upstream:
    upstream.products["737628064502"] = {"product_name": "Noodles"}
    upstream.script("737628064502", status(503, retry_after="2"), reset())
    ...the first two requests fail so, the third gets the product...
"""

import gzip
import json
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from spoils.food.barcode import normalise


@dataclass(frozen=True)
class Seen:
    """One request as it came in."""

    path: str
    barcode: str
    headers: dict[str, str]
    at: float


class Exchange:
    """One request, and the means to answer it well or badly."""

    def __init__(self, connection: socket.socket, path: str, closing: threading.Event) -> None:
        """Belong to one connection."""
        self.connection = connection
        self.path = path
        self._closing = closing

    def send(self, code: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        """Send one whole answer; `Retry_After="2"` becomes the header Retry-After."""
        self.send_head(code, content_type, Content_Length=str(len(body)), **headers)
        self.connection.sendall(body)

    def send_head(self, code: int, content_type: str = "application/json", **headers: str) -> None:
        """Send the status line and the headers only."""
        lines = [f"HTTP/1.1 {code} Whatever", f"Content-Type: {content_type}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def drip(self, drop: bytes, every_seconds: float) -> None:
        """Send these bytes again and again, for a minute: a client without a deadline must not hang a test."""
        ends = time.monotonic() + 60
        while time.monotonic() < ends and not self.wait(every_seconds):
            self.connection.sendall(drop)

    def wait(self, seconds: float) -> bool:
        """Wait for the upstream to close; False while it stays open."""
        return self._closing.wait(seconds)


Behaviour = Callable[[Exchange], None]


class Upstream:
    """The server; a context manager. Scripted barcodes misbehave first, then serve their product."""

    def __init__(self) -> None:
        """Bind a free port of loopback."""
        self.products: dict[str, dict[str, Any]] = {}
        self.requests: list[Seen] = []
        self._scripts: dict[str, list[Behaviour]] = {}
        self._always: dict[str, Behaviour] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.upstream = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL to give to the client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def script(self, barcode: str, *behaviours: Behaviour) -> None:
        """Answer the next requests for this barcode so, one behaviour each; then with its product."""
        with self._lock:
            self._scripts.setdefault(normalise(barcode), []).extend(behaviours)

    def always(self, barcode: str, behaviour: Behaviour) -> None:
        """Answer every request for this barcode so, once its script is used up."""
        with self._lock:
            self._always[normalise(barcode)] = behaviour

    def answer(self, exchange: Exchange, headers: dict[str, str]) -> None:
        """Play the next behaviour of the barcode asked for."""
        code = exchange.path.partition("?")[0].rsplit("/", 1)[1].removesuffix(".json")
        with self._lock:
            self.requests.append(Seen(exchange.path, code, headers, time.monotonic()))
            script = self._scripts.get(normalise(code))
            behaviour = script.pop(0) if script else self._always.get(normalise(code), self._serve)
        behaviour(exchange)

    def _serve(self, exchange: Exchange) -> None:
        code = normalise(exchange.path.rsplit("/", 1)[1])
        product = {normalise(known): product for known, product in self.products.items()}.get(code)
        if product is None:
            return not_found()(exchange)
        return ok({"code": code, "status": 1, "status_verbose": "product found", "product": product})(
            exchange
        )

    def __enter__(self) -> Self:
        """Start to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Let go of whatever hangs, and stop."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def closing(self) -> threading.Event:
        """Set once the upstream stops."""
        return self._closing


def ok(document: Any) -> Behaviour:
    """Answer 200 with this JSON."""
    return raw(json.dumps(document).encode())


def raw(body: bytes, content_type: str = "application/json", **headers: str) -> Behaviour:
    """Answer 200 with these bytes."""
    return lambda exchange: exchange.send(200, body, content_type, **headers)


def status(code: int, *, retry_after: str | None = None, body: bytes = b"{}", **headers: str) -> Behaviour:
    """Answer with this status."""
    extra = headers if retry_after is None else {**headers, "Retry_After": retry_after}
    return lambda exchange: exchange.send(code, body, **extra)


def not_found() -> Behaviour:
    """Answer 404 as the service does today."""
    return status(404, body=b'{"status": 0, "status_verbose": "product not found"}')


def wire(data: bytes) -> Behaviour:
    """Send these bytes as they are, status line and all."""
    return lambda exchange: exchange.connection.sendall(data)


def html() -> Behaviour:
    """Answer 200 with a maintenance page."""
    return raw(b"<html>maintenance</html>", "text/html")


def truncated() -> Behaviour:
    """Promise more bytes than are sent."""

    def behave(exchange: Exchange) -> None:
        exchange.send_head(200, Content_Length="5000")
        exchange.connection.sendall(b'{"status": 1, "product": {"product_name": "cut')

    return behave


def hang() -> Behaviour:
    """Take the request and say nothing."""

    def behave(exchange: Exchange) -> None:
        exchange.wait(120)

    return behave


def drip_headers(every_seconds: float = 0.02) -> Behaviour:
    """Send a header byte by byte, as good as for ever; each one well within any read timeout."""

    def behave(exchange: Exchange) -> None:
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        exchange.drip(b"z", every_seconds)

    return behave


def drip_body(every_seconds: float = 0.02) -> Behaviour:
    """Send a body byte by byte, as good as for ever."""

    def behave(exchange: Exchange) -> None:
        exchange.send_head(200, Content_Length="1000000")
        exchange.drip(b" ", every_seconds)

    return behave


def drip_unbounded_body(every_seconds: float = 0.02) -> Behaviour:
    """Drip a body without a length: once it is cut, it looks like a whole one."""

    def behave(exchange: Exchange) -> None:
        exchange.send_head(200)
        exchange.connection.sendall(b'{"status": 1, "product": {"product_name": "whole"}}')
        exchange.drip(b" ", every_seconds)

    return behave


def reset() -> Behaviour:
    """Reset the connection instead of answering."""

    def behave(exchange: Exchange) -> None:
        exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange.connection.close()

    return behave


def big(size: int = 60_000_000) -> Behaviour:
    """Send a body of this many bytes, without telling its length first."""

    def behave(exchange: Exchange) -> None:
        exchange.send_head(200)
        block = b"a" * 65536
        exchange.connection.sendall(b'{"status": 1, "product": {"product_name": "')
        for _ in range(size // len(block)):
            exchange.connection.sendall(block)

    return behave


def gzip_bomb(size: int = 200_000_000) -> Behaviour:
    """Send a small packed body that unpacks to this many bytes."""
    packer_input = b" " * 1_000_000
    # Members of one gzip file may follow each other: the bomb is built without ever being unpacked here.
    packed = gzip.compress(packer_input) * (size // len(packer_input))
    return raw(packed, Content_Encoding="gzip")


def redirect(location: str | None = None, code: int = 302) -> Behaviour:
    """Redirect there; without a place, to the same address again."""
    return lambda exchange: exchange.send(code, b"", Location=location or exchange.path)


def redirect_with_endless_body(location: str) -> Behaviour:
    """Redirect there, with a body that never ends."""

    def behave(exchange: Exchange) -> None:
        exchange.send_head(302, Location=location, Content_Length="1000000")
        exchange.drip(b" ", 0.02)

    return behave


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    block_on_close = False
    upstream: Upstream

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that gave up on a drip is the point of the test


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            block = self.request.recv(65536)
            if not block:
                return
            head += block
            if head.startswith(b"\x16"):  # a TLS handshake, which this is not the place for
                self.request.sendall(b"HTTP/1.1 400 Plain\r\n\r\n")
                return
        first, *lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        exchange = Exchange(self.request, first.split(" ")[1], self.server.upstream.closing)
        self.server.upstream.answer(exchange, headers)
