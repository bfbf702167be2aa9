"""Requests with mutated framing, at gunicorn and through nginx: none is a 5xx, no answer is another request's.

1,200 each by default; SPOILS_MUTATED_REQUESTS=50000 sends as many, and SPOILS_FUZZ_SEED=… others.
"""

import contextlib
import itertools
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from tests.nginx import nginx_before
from tests.process.mutations import TOKEN, answers, clean, marker, markers, mutated
from tests.programs import Web
from tests.support import eventually

pytestmark = pytest.mark.process

NUMBER = int(os.environ.get("SPOILS_MUTATED_REQUESTS", "1200"))
SEED = int(os.environ.get("SPOILS_FUZZ_SEED", "20261130"))
SENDERS = 6
SILENCE_SECONDS = 0.15
"""After this time without an answer, a sender assumes that the server waits for more, and ends its side."""
ALLOWED = {501, 503, 505}
"""A transfer coding or a version of HTTP that the server does not know, and a database that does not answer."""
SLACK_KB = 40_000


@pytest.fixture
def web(database_url: str) -> Iterator[Web]:
    # Without its planned restarts, so that what a process leaks stays to be seen.
    settings = {
        "GUNICORN_CMD_ARGS": "--max-requests 0",
        "WEB_CONCURRENCY": "2",
        "SPOILS_API_TOKEN": TOKEN,
        "SPOILS_ADMIN_PASSWORD": "correct horse",
        "SECRET_KEY": "not much of a secret",
    }
    with Web(database_url, **settings) as web:
        eventually(lambda: len(web.children) == 2)
        yield web


class Fuzz:
    """Senders of mutated requests, and one of clean ones beside them."""

    def __init__(self, url: str, *, half_close: bool) -> None:
        address = urlsplit(url)
        self._address = (address.hostname, address.port)
        self._half_close = half_close
        self._numbers = itertools.count(1)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.sent = self.clean = 0
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []

    def run(self, number: int) -> None:
        """Send `number` mutated requests, and others after them on the same connections."""
        beside = threading.Thread(target=self._send_clean)
        senders = [
            threading.Thread(target=self._send, args=(one, number // SENDERS)) for one in range(SENDERS)
        ]
        for thread in (beside, *senders):
            thread.start()
        for sender in senders:
            sender.join()
        self._over.set()
        beside.join()

    def _send(self, sender: int, number: int) -> None:
        random = Random(f"{SEED} {sender} {self._half_close}")
        while number > 0 and len(self.faults) < 20:
            marks: list[bytes] = []
            parts: list[bytes] = []
            for _ in range(random.choice((0, 1, 1, 2, 3))):
                # The second is that of a request that may hide in the body of the first.
                mark, hidden = self._marker(), self._marker()
                marks += [mark, hidden]
                request = clean(random, mark)
                if random.random() < 0.1:
                    parts.append(request.sent())
                    continue
                parts.append(mutated(random, request, clean(random, hidden).sent()))
                number -= 1
            marks.append(self._marker())
            parts.append(clean(random, marks[-1], last=True).sent())
            sent = b"".join(parts)
            self._judge(marks, sent, self._exchange(random, sent))
            with self._lock:
                self.sent += len(parts)

    def _send_clean(self) -> None:
        random = Random(SEED)
        while not self._over.is_set() and len(self.faults) < 20:
            marks = [self._marker() for _ in range(3)]
            sent = b"".join([clean(random, mark, last=mark is marks[-1]).sent() for mark in marks])
            got = self._exchange(None, sent)
            seen = [markers(answer) for _, answer in answers(got)]
            if seen != [{mark} for mark in marks]:
                self._fault("clean requests were answered otherwise", sent, got)
            self.clean += len(marks)

    def _marker(self) -> bytes:
        return marker(next(self._numbers))

    def _exchange(self, random: Random | None, sent: bytes) -> bytes:
        """All that comes back until the server closes. It is cut in pieces at random."""
        cuts = (
            sorted(random.randrange(len(sent)) for _ in range(random.choice((0, 0, 1, 3)))) if random else []
        )
        got = b""
        try:
            connection = socket.create_connection(self._address, 30)
        except OSError as exc:
            self._fault(f"no connection: {exc}", b"", b"")
            return b""
        with connection, contextlib.suppress(OSError):
            for begin, end in itertools.pairwise([0, *cuts, len(sent)]):
                connection.sendall(sent[begin:end])
            if random and self._half_close:
                connection.shutdown(socket.SHUT_WR)
            elif random:
                connection.settimeout(SILENCE_SECONDS)
            while True:
                try:
                    block = connection.recv(65536)
                except TimeoutError:
                    if connection.gettimeout() == 30:
                        self._fault("the connection stays open", sent, got)
                        break
                    connection.settimeout(30)
                    connection.shutdown(socket.SHUT_WR)
                    continue
                if not block:
                    break
                got += block
        return got

    def _judge(self, marks: list[bytes], sent: bytes, got: bytes) -> None:
        place = 0
        for status, answer in answers(got):
            with self._lock:
                self.statuses[status] += 1
            # A list of jobs has those of all.
            seen = set() if b'"older":' in answer else markers(answer)
            if not seen <= {*marks}:
                self._fault("an answer to another connection's request", sent, got)
            elif seen:
                if min(marks.index(one) for one in seen) < place:
                    self._fault("answers out of order", sent, got)
                place = max(marks.index(one) for one in seen)
            if status == 0 and self._half_close:  # nginx answers HTTP/0.9, which has no head
                self._fault("no answer of HTTP", sent, got)
            if status >= 500 and status not in ALLOWED:
                self._fault(f"{status}", sent, got)

    def _fault(self, words: str, sent: bytes, got: bytes) -> None:
        with self._lock:
            self.faults.append(f"{words}\n  sent {sent[:3000]!r}\n  got {got[-3000:]!r}")


class Processes:
    """gunicorn's, with the files and the memory that they have."""

    def __init__(self, web: Web) -> None:
        self._pids = web.children
        self._web = web

    def files(self) -> list[int]:
        """How many each has open."""
        return [len([*Path(f"/proc/{pid}/fd").iterdir()]) for pid in self._pids]

    def memory(self) -> list[int]:
        """How many KB each has resident."""
        lines = [Path(f"/proc/{pid}/status").read_text() for pid in self._pids]
        return [int(one.partition("VmRSS:")[2].split()[0]) for one in lines]

    def live(self) -> bool:
        """Whether they are still the same."""
        return self._web.children == self._pids


def check(web: Web, url: str, capsys: pytest.CaptureFixture[str], *, half_close: bool) -> Fuzz:
    processes = Processes(web)
    Fuzz(url, half_close=half_close).run(300)  # what is loaded at first use, and connections that are kept
    memory, files = processes.memory(), processes.files()
    fuzz = Fuzz(url, half_close=half_close)
    fuzz.run(NUMBER)
    with capsys.disabled():
        print(
            f"\n{NUMBER:,} mutated of {fuzz.sent:,} requests, {sum(fuzz.statuses.values()):,} answers "
            f"{dict(sorted(fuzz.statuses.items()))}, and {fuzz.clean:,} to clean requests beside them; "
            f"KB {memory} -> {processes.memory()}, files {files} -> {processes.files()}"
        )
    assert not fuzz.faults, "\n".join(fuzz.faults)
    assert processes.live()
    assert [line for line in web.lines if "Traceback" in line or "Error handling request" in line] == []
    assert all(now < before + SLACK_KB for now, before in zip(processes.memory(), memory, strict=True))
    eventually(
        lambda: all(now <= before + 4 for now, before in zip(processes.files(), files, strict=True)), 30
    )
    return fuzz


def test_mutated_requests_straight_at_gunicorn(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    fuzz = check(web, web.url, capsys, half_close=True)
    assert {200, 400, 404} <= fuzz.statuses.keys()


def test_mutated_requests_through_nginx(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with nginx_before(web, folder=tmp_path) as url:
        fuzz = check(web, url, capsys, half_close=False)
    assert {200, 400, 404} <= fuzz.statuses.keys()
    # One that gunicorn sees and nginx did not pass on is smuggled.
    passed = len([line for line in (tmp_path / "upstream").read_text().splitlines() if line != "-"])
    seen = len([line for line in web.lines if ' INFO 127.0.0.1 "' in line])
    assert 0 < seen <= passed
