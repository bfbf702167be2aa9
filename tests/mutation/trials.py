"""Trials: the tests that reach a changed line, run on the changed file in a process of their own."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType

import pytest

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "spoils" / "queue"
OPTIONS = ["-x", "-q", *(f"-pno:{name}" for name in ("cacheprovider", "xdist", "schemathesis", "anyio"))]


class Trial:
    """One run of tests in a fork of this process. What is written to the disk is only its output."""

    def __init__(
        self, tests: Sequence[str], *, module: str, source: str, output: Path, seconds: float
    ) -> None:
        self._output = output
        self._ends_at = time.monotonic() + seconds
        self._process = os.fork()
        if self._process == 0:
            _become(tests, module, source, output)
        self._ending = os.pidfd_open(self._process)

    def fileno(self) -> int:
        """A descriptor that can be read once the trial has ended."""
        return self._ending

    def ended(self) -> str | None:
        """`killed`, `survived`, or `hung` where the tests took too long; None while they run."""
        process, status = os.waitpid(self._process, os.WNOHANG)
        if process:
            os.close(self._ending)
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        if time.monotonic() < self._ends_at:
            return None
        self.end()
        return "hung"

    def end(self) -> None:
        """End it, whatever it is at."""
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._ending)

    def killer(self) -> str:
        """The test that failed, as pytest names it."""
        lines = self._output.read_text(errors="replace").splitlines()
        return next((line for line in lines if line.startswith(("FAILED", "ERROR"))), "")[:160]


def _become(tests: Sequence[str], module: str, source: str, output: Path) -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(written, descriptor)
    # What was loaded before the fork would keep the module as it was. `import spoils` alone loads a part of the queue.
    for name in [name for name in sys.modules if name.partition(".")[0] in ("spoils", "tests")]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Changed(f"spoils.queue.{module}", ROOM / f"{module}.py", source))
    try:
        code = int(pytest.main([*OPTIONS, *tests]))
    except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as the parent
        code = 1
    sys.stdout.flush()
    os._exit(code)


class _Changed:
    """Finds one module, and gives it other source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        return spec_from_file_location(name, self._path, loader=_Loader(name, str(self._path), self._source))


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec")
