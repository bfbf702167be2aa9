"""`python -m spoils dev`: all of it at once, on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from spoils.cli import lifeline
from spoils.cli.composition import branches
from spoils.cli.port import check_port
from spoils.cli.start import begin, check_worker_settings, starting_engine
from spoils.cli.web import LOOPBACK
from spoils.config import PACKAGE, ROOT, environment_with
from spoils.db.migrate import migrate
from spoils.db.url import database_url
from spoils.errors import SpoilsError

LOOK_SECONDS = 0.5
FOLDERS = ("spoils", "templates", "static")
SUFFIXES = (".py", ".html", ".css", ".js")


def run_development() -> int:
    """Start the database, web and worker for development.

    Web and worker restart when a file of Spoils changes. It ends when one of them does, or on a signal.
    """
    if PACKAGE.parent != ROOT:  # app.py and worker.py, if there are any, are another application's
        raise SpoilsError(
            "`spoils dev` works only in a clone of Spoils. In an application run `spoils migrate`, "
            "then `spoils web` and `spoils worker` in a terminal each."
        )
    files = _files()
    settings = begin(development=True)
    check_worker_settings(settings)
    check_port(LOOPBACK, settings.port)
    programs = _Programs(settings.port)
    # From here on, so that in no moment a signal ends this process and not what it has started.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, programs.stop)
    migrate(starting_engine(database_url(settings)), branches=branches(settings))
    return programs.run(files)


class _Programs:
    """The web and the worker, as children that end with this process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._running: list[subprocess.Popen[bytes]] = []
        self._stops = 0
        # Only this process holds the other end.
        self._lifeline, _ = os.pipe()

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """The handler of signals: ask both to end; kill them at the second signal."""
        # Ctrl-C in a terminal reaches the programs too; that they hear it twice changes nothing.
        self._stops += 1
        for program in self._running:
            program.terminate() if self._stops == 1 else program.kill()

    def run(self, files: dict[str, int]) -> int:
        """Run both programs until they end, and restart them when a file differs from `files`. Return the exit code."""
        try:
            self._start()
            while not self._stops and all(program.poll() is None for program in self._running):
                time.sleep(LOOK_SECONDS)
                before, files = files, _files()
                if changed := sorted(name for name, _ in before.items() ^ files.items()):
                    self._replace(changed[0])
        finally:
            codes = self._end()
        return 0 if self._stops else max(codes, default=0) or 1

    def _replace(self, changed: str) -> None:
        print(f"{changed} has changed: restarting web and worker.", flush=True)
        check = subprocess.run(
            [sys.executable, "-m", "spoils", "check"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self._end()
        if self._stops:
            return
        if check.returncode == 0:
            self._start()
        else:
            print(check.stderr.strip())
            print("Web and worker are stopped; they start when the mistake is corrected.", flush=True)

    def _start(self) -> None:
        self._running = []
        for name in ("app.py", "worker.py"):
            command = [sys.executable, str(ROOT / name), lifeline.OPTION, str(self._lifeline)]
            environment = environment_with(PYTHONUNBUFFERED="1")
            self._running.append(
                subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[self._lifeline])
            )
        while not self._stops and self._running[0].poll() is None and not _listens(self._port):
            time.sleep(0.05)
        if not self._stops and self._running[0].poll() is None:
            print(f"Spoils runs on http://{LOOPBACK}:{self._port} — stop it with Ctrl-C.", flush=True)

    def _end(self) -> list[int]:
        for program in self._running:
            program.terminate()  # if one has ended, the other is of no use
        codes = [program.wait() for program in self._running]
        self._running = []
        return codes


def _files() -> dict[str, int]:
    """The files that the programs load once, and when each was last changed."""
    found = {}
    # Not by rglob(), which fails where a folder is deleted while it looks, as by a checkout.
    listed = (
        Path(at, name) for folder in FOLDERS for at, _, names in os.walk(ROOT / folder) for name in names
    )
    for path in listed:
        if path.suffix not in SUFFIXES:
            continue
        try:
            found[str(path.relative_to(ROOT))] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue  # deleted since it was listed
    return found


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
