"""Programs of Spoils tried many times: each trial is a fork of one process that has imported everything already."""

import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from tests.programs import ROOT
from tests.support import PATIENCE

TRIAL_SECONDS = 15


class Trials:
    """Tries programs one after another. A program that does not end by itself is killed, which raises."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SPOILS_", "WORKER_"))
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.process.trials", str(theirs.fileno())],
            cwd=ROOT,
            env=kept,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._answers = self._ours.makefile("r")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._answers.close()
        self._process.wait()

    def run(self, *command: str, jobs: Path | None = None, **environment: str) -> tuple[int, str]:
        """Try `spoils …`, `worker.py …`, `app.py …` or `gunicorn …`; the exit code and all that it printed.

        `jobs` is one more folder of job files.
        """
        order = {"command": command, "jobs": jobs and str(jobs), "environment": environment}
        self._ours.sendall(f"{json.dumps(order)}\n".encode())
        code, output = json.loads(self._answers.readline())
        return code, output.strip()


def _serve(orders: socket.socket) -> None:
    for line in orders.makefile("r"):
        order = json.loads(line)
        with tempfile.TemporaryFile() as output:
            pid = os.fork()
            if not pid:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                orders.close()
                _run(**order)
            _, status = os.waitpid(pid, 0)
            output.seek(0)
            answer = os.waitstatus_to_exitcode(status), output.read().decode(errors="replace")
        orders.sendall(f"{json.dumps(answer)}\n".encode())


def _run(command: list[str], jobs: str | None, environment: dict[str, str]) -> None:
    """Be the program, and end."""
    signal.alarm(int(TRIAL_SECONDS * PATIENCE))
    os.environ.update(environment)
    if jobs:
        importlib.import_module("spoils.jobs").__path__.append(jobs)
    code: object = 1
    try:
        sys.argv = command
        match command[0]:
            case "spoils":
                main(command[1:])
            case "worker.py":
                code = worker_program()
            case "app.py":
                development_app()
            case "gunicorn":
                import gunicorn.app.wsgiapp  # noqa: PLC0415 - reads the environment

                gunicorn.app.wsgiapp.run()
    except SystemExit as exc:
        code = exc.code
    except BaseException:  # noqa: BLE001 - it is printed, as Python does
        traceback.print_exc()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    import logging
    import signal
    import traceback

    from spoils.cli.commands import main
    from spoils.cli.web import development_app
    from spoils.cli.worker import worker_program
    from spoils.job.discovery import load

    load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
