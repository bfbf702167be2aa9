"""Real programs, started and ended by tests."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from tests.support import PATIENCE, eventually

ROOT = Path(__file__).resolve().parent.parent
ENDS_WITHIN = 40.0 * PATIENCE


class Program:
    """A Python program of this repository as a process. Its output goes to a file: a pipe's reader would take part."""

    def __init__(
        self, *arguments: str, folder: Path = ROOT, python: str = sys.executable, **environment: str
    ) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SPOILS_", "WORKER_"))
        }
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed at its exit
        self._said: list[str] | None = None
        self.process = subprocess.Popen(
            [python, *arguments],
            cwd=folder,
            env={**kept, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            print(f"--- {self.process.args} said:\n{self.output}")
        if self.process.poll() is None:
            # A stopped process takes no other signal.
            self.process.kill()
        self.process.wait(ENDS_WITHIN)
        self._said = self.lines
        self._file.close()

    @property
    def lines(self) -> list[str]:
        """What it has said so far, or had at its end."""
        if self._said is not None:
            return self._said
        number = self._file.fileno()
        said = os.pread(number, os.fstat(number).st_size, 0)
        if self.process.poll() is None:
            said = said[: said.rfind(b"\n") + 1]  # the last line may be half written
        return said.decode().removesuffix("\n").split("\n")

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def says(self, pattern: str, timeout: float = 15.0) -> re.Match[str]:
        """Wait until a line of its output matches."""

        def look() -> re.Match[str]:
            found = next((match for line in self.lines if (match := re.search(pattern, line))), None)
            assert found, f"{pattern!r} is not said in:\n{self.output}"
            return found

        return eventually(look, timeout)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, timeout: float = ENDS_WITHIN) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(timeout * PATIENCE)


def worker(database_url: str, **environment: str) -> Program:
    """Start a worker that knows the tests' job classes, and wait until it is at work."""
    program = Program(
        "tests/sample_worker.py", DATABASE_URL=database_url, **{"SPOILS_ANALYZE_SECONDS": "0", **environment}
    )
    program.says("Worker pool started", timeout=40)
    return program


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Web(Program):
    """The web program under gunicorn, as in production, once it listens; `url` is where."""

    def __init__(self, database_url: str, **environment: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(
            *("-m", "gunicorn", "--config", "gunicorn.conf.py", "app:app"),
            **{"DATABASE_URL": database_url, "PORT": str(port), "WEB_CONCURRENCY": "1", **environment},
        )

    def __enter__(self) -> Self:
        self.says("Booting worker")
        return self
