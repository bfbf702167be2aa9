"""A server that implements just enough of PostgreSQL's protocol to refuse a connection, or to greet it."""

import socket
import threading
from collections.abc import Callable
from typing import Self


class FakePostgres:
    """Answers the n-th connection (from 0) with `answer(n)`, and then waits until the client ends it."""

    def __init__(self, answer: Callable[[int], bytes]) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        self.url = f"postgresql://spoils:s3cret@127.0.0.1:{port}/spoils?sslmode=disable&gssencmode=disable"
        self._thread = threading.Thread(target=self._serve, name="fake-postgres", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _serve(self) -> None:
        number = 0
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client:
                client.settimeout(10)
                client.recv(4096)
                client.sendall(self._answer(number))
                client.recv(4096)
            number += 1


def refusal(sqlstate: str, severity: str, sentence: str) -> bytes:
    """An error at the start of a session, in the server's language."""
    fields = [f"S{severity}", "VFATAL", f"C{sqlstate}", f"M{sentence}"]
    return _message(b"E", b"".join(field.encode() + b"\0" for field in fields) + b"\0")


def greeting(**parameters: str) -> bytes:
    """What a server says to a session that it accepts; the parameters are those it reports."""
    reported = {
        "client_encoding": "UTF8",
        "DateStyle": "ISO, MDY",
        "standard_conforming_strings": "on",
        **parameters,
    }
    return (
        _message(b"R", bytes(4))
        + b"".join(
            _message(b"S", name.encode() + b"\0" + value.encode() + b"\0") for name, value in reported.items()
        )
        + _message(b"K", bytes(8))
        + _message(b"Z", b"I")
    )


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + (len(content) + 4).to_bytes(4, "big") + content


WRONG_PASSWORD = refusal("28P01", "FATAL", "Passwort-Authentifizierung für Benutzer »spoils« fehlgeschlagen")
STARTING = refusal("57P03", "ВАЖНО", "система баз данных запускается")
