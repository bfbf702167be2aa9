"""One deadline over everything that a fetch does: names, connections, headers and bodies."""

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

#: What getaddrinfo tells of one address: family, kind, protocol, canonical name, address.
_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


class Deadline:
    """A moment on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        """Start counting now."""
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._ends - time.monotonic())

    @property
    def passed(self) -> bool:
        """True once the time is up."""
        return self.remaining == 0.0


class Watchdog:
    """Cuts every connection it was shown when the deadline passes.

    A socket's timeout is per recv: a server that sends a byte a second, in its headers or in a TLS
    handshake, never meets it. A shutdown from outside ends whatever call is waiting.
    """

    def __init__(self, deadline: Deadline) -> None:
        """Watch nothing yet."""
        self.deadline = deadline
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._bitten = False
        self._timer = threading.Timer(deadline.remaining, self._bite)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Start the clock."""
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Let go of the connections; they belong to whoever opened them."""
        self._timer.cancel()
        with self._lock:
            for watched in self._sockets:
                watched.close()
            self._sockets.clear()

    def connect(self, host: str, port: int) -> socket.socket:
        """Open a connection within the deadline, however many addresses the name has."""
        failure = OSError(f"{host} has no address")
        addresses = self._look_up(host, port)
        for nth, (family, kind, protocol, _, address) in enumerate(addresses):
            opened = socket.socket(family, kind, protocol)
            try:
                # An address that swallows everything must leave time for the ones after it.
                opened.settimeout(max(self.deadline.remaining / (len(addresses) - nth), 0.001))
                opened.connect(address)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._watch(opened)
                return opened
            except OSError as exc:
                opened.close()
                failure = exc
        raise failure

    def _look_up(self, host: str, port: int) -> list[_Address]:
        # getaddrinfo cannot be interrupted: it runs aside, and is left behind when the time is up.
        answers: list[_Address] = []
        failures: list[OSError] = []

        def ask() -> None:
            try:
                answers.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except OSError as exc:
                failures.append(exc)
            except UnicodeError:
                failures.append(socket.gaierror(socket.EAI_NONAME, "not a host name"))

        asker = threading.Thread(target=ask, daemon=True, name="look-up")
        asker.start()
        asker.join(self.deadline.remaining)
        if failures:
            raise failures[0]
        if not answers:
            raise TimeoutError(f"no address for {host} in time")
        return answers

    def _watch(self, opened: socket.socket) -> None:
        # A duplicate, because TLS takes the original socket apart; both end at one shutdown.
        with self._lock:
            if self._bitten:
                raise TimeoutError("the time is up")
            self._sockets.append(opened.dup())

    def _bite(self) -> None:
        with self._lock:
            self._bitten = True
            for watched in self._sockets:
                with suppress(OSError):
                    watched.shutdown(socket.SHUT_RDWR)
