"""`python -m spoils dev`: all of it at once, on this machine."""

import signal
import socket
import subprocess
import sys
import time
from types import FrameType

from spoils.cli.start import begin, starting_engine
from spoils.cli.web import LOOPBACK
from spoils.config import ROOT, environment_with
from spoils.db.migrate import migrate
from spoils.db.url import database_url


def run_development() -> int:
    """Start the database, the web and a worker; end when one of them does, or on a signal. The exit code."""
    settings = begin(development=True)
    programs: list[subprocess.Popen[bytes]] = []
    stops = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        # Ctrl-C in a terminal reaches the programs too; that they hear it twice changes nothing.
        nonlocal stops
        stops += 1
        for program in programs:
            program.terminate() if stops == 1 else program.kill()

    # From here on, so that in no moment a signal ends this process and not what it has started.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    url = database_url(settings)
    migrate(starting_engine(url))
    environment = environment_with(DATABASE_URL=url, PYTHONUNBUFFERED="1")
    try:
        programs.extend(
            subprocess.Popen([sys.executable, str(ROOT / name), *options], cwd=ROOT, env=environment)
            for name, *options in (["app.py"], ["worker.py", "--development"])
        )
        while not stops and programs[0].poll() is None and not _listens(settings.port):
            time.sleep(0.05)
        if programs[0].poll() is None:
            print(f"Spoils runs on http://{LOOPBACK}:{settings.port} — stop it with Ctrl-C.", flush=True)
        while not stops and all(program.poll() is None for program in programs):
            time.sleep(0.2)
    finally:
        for program in programs:
            program.terminate()  # where one has ended by itself, the other is of no use
        codes = [program.wait() for program in programs]
    return 0 if stops else max(codes, default=0) or 1


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
