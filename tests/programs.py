"""Real programs, started and ended by tests."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.support import PATIENCE, eventually

ROOT = Path(__file__).resolve().parent.parent
ENDS_WITHIN = 40.0 * PATIENCE
JOBS = "spoils.jobs,tests.sample_jobs,tests.faults.jobs"


class Program:
    """A Python program of this repository as a process.

    Its output goes to a file, since the reader of a pipe would take part; or to the descriptor `stdout`. A `group` is a
    session of its own, as a terminal has: `send` reaches every process of it.
    """

    def __init__(
        self,
        *arguments: str,
        folder: Path = ROOT,
        python: str = sys.executable,
        stdout: int | None = None,
        group: bool = False,
        **environment: str,
    ) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SPOILS_", "WORKER_"))
        }
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed at its exit
        self._group = group
        self._said: list[str] | None = None
        self.process = subprocess.Popen(
            [python, *arguments],
            cwd=folder,
            env={**kept, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._file if stdout is None else stdout,
            stderr=subprocess.STDOUT,
            start_new_session=group,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            print(f"--- {self.process.args} said:\n{self.output}")
        # A stopped process takes no other signal.
        self.send(signal.SIGKILL)
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

    @property
    def children(self) -> list[int]:
        """The processes that it has started and that still run."""
        return children(self.process.pid)

    def says(self, pattern: str, timeout: float = 15.0) -> re.Match[str]:
        """Wait until a line of its output matches."""

        def found() -> re.Match[str]:
            match = next((match for line in self.lines if (match := re.search(pattern, line))), None)
            assert match, f"{pattern!r} is not in:\n{self.output}"
            return match

        return eventually(found, timeout)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, or to its whole group."""
        with suppress(ProcessLookupError):
            if self._group:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)

    def ends(self, timeout: float = ENDS_WITHIN) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(timeout * PATIENCE)

    def stop(self) -> None:
        """Stop it with SIGTERM, which it obeys with exit code 0."""
        self.send(signal.SIGTERM)
        assert self.ends() == 0


def worker(database_url: str, **environment: str) -> Program:
    """Start a worker with the tests' job classes, and wait until its pool has started."""
    program = start_worker(database_url, **environment)
    program.says("Worker pool started", timeout=40)
    return program


def start_worker(database_url: str, *, stdout: int | None = None, **environment: str) -> Program:
    """Start a worker with the tests' job classes. Nothing that it sends leaves this machine."""
    settings = {
        "DATABASE_URL": database_url,
        "SPOILS_JOBS": JOBS,
        "SPOILS_ANALYZE_SECONDS": "0",
        "SPOILS_NOTIFY_SECONDS": "0",
        "OPENFOODFACTS_URL": "http://127.0.0.1:1",
        **environment,
    }
    return Program("worker.py", stdout=stdout, **settings)


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


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """The live processes that any thread of a process has started."""
    found = {
        int(one) for task in Path(f"/proc/{pid}/task").glob("*/children") for one in task.read_text().split()
    }
    return sorted(filter(alive, found))


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
