"""HTTP GET that cannot take longer, or bring more, than it was allowed."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from spoils.food.openfoodfacts.deadline import Deadline, Watchdog

_CHUNK_BYTES = 16 * 1024
_READABLE_ENCODINGS = {"", "identity", "gzip", "x-gzip", "deflate"}


class BodyTooLarge(Exception):
    """The body is larger than allowed."""


class BodyUnreadable(Exception):
    """The body is packed in a way that we did not ask for."""


class OutOfTime(Exception):
    """The deadline passed."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; the body is read only where the status is 200."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BoundedSession:
    """GETs that share one deadline. Nothing from the environment: no proxy, no netrc."""

    def __init__(self, *, headers: Mapping[str, str], deadline_seconds: float, max_bytes: int) -> None:
        """Start the clock."""
        self._deadline = Deadline(deadline_seconds)
        self._max_bytes = max_bytes
        self._watchdog = Watchdog(self._deadline)
        self._session = _FollowsNothing()
        self._session.trust_env = False
        self._session.headers.update(headers)
        # One answer a connection, and no packing but the one whose unpacking is bounded.
        self._session.headers.update({"Accept-Encoding": "gzip", "Connection": "close"})
        adapter = _WatchedAdapter(self._watchdog)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def __enter__(self) -> Self:
        """Start the watchdog."""
        self._watchdog.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close every connection."""
        self._session.close()
        self._watchdog.__exit__(kind, exc, tb)

    def get(self, url: str) -> Answer:
        """Ask once, following nothing; OutOfTime for whatever broke because the time was up."""
        try:
            answer = self._ask(url)
        except (requests.RequestException, HTTPError, OSError) as exc:
            if self._deadline.passed:
                raise OutOfTime from exc
            raise
        # A connection that the watchdog cut can look like the end of a body.
        if self._deadline.passed:
            raise OutOfTime
        return answer

    def _ask(self, url: str) -> Answer:
        patience = max(self._deadline.remaining, 0.001)
        with self._session.get(url, stream=True, allow_redirects=False, timeout=patience) as response:
            body = self._read(response) if response.status_code == 200 else b""
            return Answer(response.status_code, response.headers, body)

    def _read(self, response: requests.Response) -> bytes:
        if response.headers.get("Content-Encoding", "").strip().lower() not in _READABLE_ENCODINGS:
            raise BodyUnreadable
        body = bytearray()
        # The count is of unpacked bytes, and stops at the first chunk too many: a gzip bomb stays packed.
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._max_bytes:
                raise BodyTooLarge
            if self._deadline.passed:
                raise OutOfTime
        return bytes(body)


class _FollowsNothing(requests.Session):
    """Even told to follow no redirect, requests reads its whole body and parses where it leads."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - the base class's signature
        return None


class _WatchedAdapter(HTTPAdapter):
    """Opens its connections through the watchdog."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._pools = _watched_pools(watchdog)
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools


def _watched_pools(watchdog: Watchdog) -> dict[str, type[HTTPConnectionPool]]:
    # urllib3 offers no hook for a socket between its birth and its first header, so _new_conn it is;
    # the tests of dripping headers fail should it ever be renamed.
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return watchdog.connect(self._dns_host, self.port)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return watchdog.connect(self._dns_host, self.port or 443)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
