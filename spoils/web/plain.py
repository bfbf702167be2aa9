"""The plainest requests, read and answered without gunicorn's parser: a POST to a job's endpoint, there as a whole.

Reading such a request and writing its answer took gunicorn longer than the application needed to answer it. Whatever
is not plain, or wrong in any way, is gunicorn's to read.
"""

import io
import os
import re
import time
from collections.abc import Callable
from datetime import timedelta
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gunicorn import SERVER
from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidResponseHeader

from spoils.web.proxy import Proxies

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

LONGEST_HEAD = 4000
SCHEME_HEADER = "HTTP_X_FORWARDED_PROTO"
MAY_HOLD = "spoils.may_hold"
"""Of WSGI's environment: whoever serves the request calls `held.let_go` when its client makes a pause."""

_HEAD = re.compile(rb"POST (/api/jobs/[a-z0-9-]+) HTTP/1\.1(\r\n[ -~]+)+")
_HEADERS = re.compile(r"(?:[!-9;-~]+: [\t -~\x80-\xff]*\r\n)*")
# A header by another name may mean what only gunicorn knows.
_KNOWN = {
    name: f"HTTP_{name.upper().replace('-', '_')}"
    for name in (
        "accept", "accept-encoding", "accept-language", "authorization", "cache-control", "connect-time", "connection",
        "host", "pragma", "total-route-time", "traceparent", "tracestate", "user-agent", "via", "x-forwarded-for",
        "x-forwarded-port", "x-forwarded-proto", "x-request-id", "x-request-start",
    )
} | {"content-length": "CONTENT_LENGTH", "content-type": "CONTENT_TYPE"}  # fmt: skip


def read(data: bytes) -> "WSGIEnvironment | None":
    """What the bytes of one request tell of it, by WSGI's names; None where it is not plain, or not exactly one."""
    head, _, body = data.partition(b"\r\n\r\n")
    told = _told(head) if len(head) <= LONGEST_HEAD else None
    if told is None or told.get("CONTENT_LENGTH") != str(len(body)):
        return None
    return {**told, "wsgi.input": io.BytesIO(body)}


# A client without a proxy sends the same head again and again.
@lru_cache(maxsize=128)
def _told(head: bytes) -> dict[str, str] | None:
    found = _HEAD.fullmatch(head)
    if found is None:
        return None
    path = found[1].decode()
    told = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "RAW_URI": path}
    for line in head.decode().split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        key = _KNOWN.get(name.lower())
        if key is None or not colon or key in told:
            return None
        told[key] = value.strip(" ")
    return told if told.get("HTTP_CONNECTION", "keep-alive").lower() == "keep-alive" else None


class Plain:
    """Serves plain requests to `app`, as the gunicorn of these settings would; `log_access` is its access log."""

    def __init__(self, app: "WSGIApplication", config: Any, log_access: Callable[..., None]) -> None:
        self._app = app
        self._log_access = log_access
        self._proxies = Proxies(config.forwarded_allow_ips)
        self._secure = config.secure_scheme_headers.get("X-FORWARDED-PROTO")
        # A part of the address may be the application's own place: such requests are for gunicorn to take apart.
        self._reads = not os.environ.get("SCRIPT_NAME") and not config.is_ssl  # noqa: TID251 - gunicorn's own
        self._base = {
            **wsgi.base_environ(config),
            "QUERY_STRING": "",
            "SCRIPT_NAME": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.multithread": True,
            MAY_HOLD: True,
        }

    def environ(self, data: bytes, conn: Any) -> "WSGIEnvironment | None":
        """The whole of WSGI's environment for the request of these bytes; None where gunicorn is to read it."""
        told = read(data) if self._reads else None
        if told is None or not isinstance(conn.client, tuple):
            return None
        address, port = conn.client[:2]
        scheme = told.get(SCHEME_HEADER)
        secure = scheme is not None and scheme == self._secure and self._proxies.trust(address)
        return {
            **self._base,
            **told,
            "wsgi.url_scheme": "https" if secure else "http",
            "REMOTE_ADDR": address,
            "REMOTE_PORT": str(port),
            "SERVER_NAME": conn.server[0],
            "SERVER_PORT": str(conn.server[1]),
        }

    def answer(self, environ: "WSGIEnvironment", conn: Any, *, keep: bool) -> bool:
        """Have it answered; whether the connection stays, which it may if told to `keep` it.

        Raises what the application does, before anything is sent. A client that has gone is an answer as any other,
        and its connection does not stay.
        """
        started = time.monotonic()
        answer = _Answer()
        parts = self._app(environ, answer.start)
        try:
            answer.body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        data = answer.data(keep=keep)
        try:
            conn.sock.sendall(data)
            answer.sent = len(answer.body)
        except OSError:
            keep = False
        self._log_access(answer, None, environ, timedelta(seconds=time.monotonic() - started))
        return keep


class _Answer:
    """What the application answers, until it is complete."""

    def __init__(self) -> None:
        self.status = ""
        self.body = b""
        self.sent = 0
        self._headers: list[tuple[str, str]] = []

    def start(
        self, status: str, headers: list[tuple[str, str]], _exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """WSGI's `start_response`."""
        self.status, self._headers = status, headers
        return self._write

    def data(self, *, keep: bool) -> bytes:
        """All of it, as it is sent."""
        second, length = int(time.time()), len(self.body)
        return _head(self.status, tuple(self._headers), length, second, keep) + self.body

    def _write(self, _data: bytes) -> None:
        # WSGI's older way, beside returning the parts.
        raise NotImplementedError("Nothing of ours writes before it returns.")


# The answers of one second are alike but for their length.
@lru_cache(maxsize=64)
def _head(status: str, headers: tuple[tuple[str, str], ...], length: int, second: int, keep: bool) -> bytes:
    told = "".join([f"{name}: {value}\r\n" for name, value in headers])
    # A value of several lines would be further headers, or another answer.
    if _HEADERS.fullmatch(told) is None or told.count("\n") != len(headers):
        raise InvalidResponseHeader(status)
    if "\r\ncontent-length:" not in f"\r\n{told}".lower():
        told = f"{told}Content-Length: {length}\r\n"
    head = (
        f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nDate: {formatdate(second, usegmt=True)}\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n{told}\r\n"
    )
    return head.encode("latin-1")
