"""A TCP proxy between a worker and its database that misbehaves as networks do.

It listens on 127.0.0.1 and connects to the server's unix socket. Of the wire protocol it knows that a message has a
type and a length, that `Q` carries a statement's text, and that `Z` ends the answer to it.
"""

import ctypes
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from sqlalchemy import make_url

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
READY = b"Z"
QUERY = b"Q"


@dataclass
class Rule:
    """What happens to the next statements that match; `met` counts them."""

    pattern: re.Pattern[str]
    act: Callable[["_Pair", bytes], None]
    left: int
    met: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    meetings: int = 0

    def await_meeting(self, timeout: float = 30.0) -> None:
        """Wait until a statement has met this rule (once more)."""
        assert self.met.acquire(timeout=timeout), f"no statement matched {self.pattern.pattern!r}"


class Proxy:
    """Passes at first. Every method affects open connections and those to come, until `heal()`."""

    def __init__(self, database_url: str) -> None:
        url = make_url(database_url)
        self._server = _socket_of(database_url)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = url.set(
            host="127.0.0.1", port=self.port, query={"sslmode": "disable", "gssencmode": "disable"}
        ).render_as_string(hide_password=False)
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._rules: list[Rule] = []
        self._refusing = False
        self.refused = 0
        """How many connections were refused."""
        self._mute = False
        self._unanswered: list[socket.socket] = []
        self._closed = False
        self.delay_seconds = 0.0
        self.flowing = threading.Event()
        self.flowing.set()
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """How many connections are open towards the client."""
        return sum(pair.open for pair in self._copy())

    def switch(self, database_url: str) -> None:
        """Lead new connections to another server, as a changed name does; those that are open stay where they are."""
        self._server = _socket_of(database_url)

    def drop(self) -> None:
        """Become a black hole: no packet is acknowledged any more, in neither direction, and neither side is notified.

        The server keeps its ends open, as one does whose own keepalives are answered by a box in between.
        """
        self.flowing.clear()
        with self._lock:
            _deafen(self._listening)
            for pair in self._pairs:
                pair.deafen()

    def mute(self) -> None:
        """Take new connections and answer nothing, as a stuck balancer or pooler; what is open passes on."""
        self._mute = True

    def delay(self, seconds: float) -> None:
        """Hold each message of a client's for `seconds`."""
        self.delay_seconds = seconds

    def reset(self) -> None:
        """Cut every open connection with a RST, on both sides."""
        for pair in self._copy():
            pair.cut()

    def refuse(self) -> None:
        """Cut every connection, and every one that is tried."""
        self._refusing = True
        self.reset()

    def heal(self) -> None:
        """Pass again. What was open in a black hole stays lost; the server's ends of it stay open."""
        with self._lock:
            _undeafen(self._listening)
            for pair in self._pairs:
                pair.abandon_if_deaf()
        self._refusing = self._mute = False
        self.delay_seconds = 0.0
        self.flowing.set()

    def lose_reply_to(self, pattern: str, times: int = 1) -> Rule:
        """Let a statement reach the server and be carried out there, and cut the client before it hears of it."""
        return self._rule(pattern, times, _Pair.lose_reply)

    def deliver_late(self, pattern: str, seconds: float, times: int = 1) -> Rule:
        """Cut the client at once, and let its statement reach the server only after `seconds`."""
        return self._rule(pattern, times, lambda pair, message: pair.deliver_late(message, seconds))

    def cut_before(self, pattern: str, times: int = 1) -> Rule:
        """Cut the connection before a statement reaches the server."""
        return self._rule(pattern, times, lambda pair, _message: pair.cut())

    def rule_for(self, message: bytes) -> Rule | None:
        """The rule that a message meets, which is then used up by one."""
        if message[:1] != QUERY:
            return None
        statement = message[5:-1].decode(errors="replace")
        with self._lock:
            for rule in self._rules:
                if rule.left > 0 and rule.pattern.search(statement):
                    rule.left -= 1
                    rule.meetings += 1
                    return rule
        return None

    def close(self) -> None:
        """Cut everything and end."""
        self._closed = True
        self.flowing.set()
        # Closing alone does not wake the thread in accept().
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)
        for client in self._unanswered:
            client.close()
        for pair in self._copy():
            pair.cut()
        for pair in self._copy():
            pair.join()

    def _rule(self, pattern: str, times: int, act: Callable[["_Pair", bytes], None]) -> Rule:
        rule = Rule(re.compile(pattern, re.DOTALL), act, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def _copy(self) -> list["_Pair"]:
        with self._lock:
            return list(self._pairs)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self._refusing or self._closed:
                self.refused += 1
                _rst(client)
                continue
            if self._mute:
                self._unanswered.append(client)
                continue
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._server)
            except OSError:
                server.close()
                _rst(client)
                continue
            pair = _Pair(self, client, server)
            pair.start()
            with self._lock:
                ended = [one for one in self._pairs if not one.alive]
                self._pairs = [*(one for one in self._pairs if one.alive), pair]
            for one in ended:
                one.join()


class _Pair:
    """A client's connection and the server's that belongs to it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._losing: Rule | None = None
        self._deaf = False
        self.open = True
        self._threads = [
            threading.Thread(target=self._upwards, name="proxy-up", daemon=True),
            threading.Thread(target=self._downwards, name="proxy-down", daemon=True),
        ]

    @property
    def alive(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
        self._server.close()
        self._client.close()

    def cut(self) -> None:
        """End both sides, the client's with a RST."""
        self.cut_client()
        _shut(self._server)

    def cut_client(self) -> None:
        if self.open:
            self.open = False
            _rst(self._client)

    def deafen(self) -> None:
        if self.open:
            self._deaf = True
            _deafen(self._client)

    def abandon_if_deaf(self) -> None:
        if self._deaf:
            self.cut_client()

    def lose_reply(self, message: bytes) -> None:
        self._losing = self._proxy_rule
        self._server.sendall(message)

    def deliver_late(self, message: bytes, seconds: float) -> None:
        self.cut_client()
        threading.Event().wait(seconds)
        self._losing = self._proxy_rule
        self._server.sendall(message)

    def _upwards(self) -> None:
        try:
            for message in _messages(self._client, startup=True):
                self._proxy.flowing.wait()
                if self._proxy.delay_seconds:
                    threading.Event().wait(self._proxy.delay_seconds)
                rule = self._proxy.rule_for(message)
                if rule is None:
                    self._server.sendall(message)
                    continue
                self._proxy_rule = rule
                rule.act(self, message)
                if self._losing is None:
                    rule.met.release()
        except OSError:
            pass
        finally:
            # A client that has gone in a black hole is not seen to go; nor is one whose last word is still awaited.
            if not self._deaf and self._losing is None:
                self.cut()

    def _downwards(self) -> None:
        try:
            for message in _messages(self._server, startup=False):
                if self._losing is not None:
                    if message[:1] == READY:
                        self.cut()
                        self._losing.met.release()
                    continue
                self._proxy.flowing.wait()
                if self.open:
                    self._client.sendall(message)
        except OSError:
            pass
        finally:
            if not self._deaf:
                self.cut()


def _socket_of(database_url: str) -> str:
    query = make_url(database_url).query
    return f"{query['host']}/.s.PGSQL.{query['port']}"


def _messages(source: socket.socket, *, startup: bool) -> Iterator[bytes]:
    """Whole messages of the protocol; the first of a client's has no type."""
    held = b""
    while piece := source.recv(65536):
        held += piece
        while True:
            head = 0 if startup else 1
            if len(held) < head + 4:
                break
            length = head + int.from_bytes(held[head : head + 4], "big")
            if len(held) < length:
                break
            yield held[:length]
            held, startup = held[length:], False


def _deafen(sock: socket.socket) -> None:
    """Let the kernel throw away every packet that comes for this socket, without an answer."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # BPF: return 0 bytes
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))


def _undeafen(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    except FileNotFoundError:
        return  # it was not deaf


def _rst(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The close ends the connection even while another thread waits in recv(): shutdown alone sends no RST.
        sock.shutdown(socket.SHUT_RD)
        sock.close()
    except OSError:
        return  # it is gone already


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is gone already
