"""`bin/dev`: what it runs, when it restarts that, how it ends, and what it says of a job that fails."""

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
import requests
from sqlalchemy import Connection, text

from spoils.cli import development
from tests.programs import ROOT, Program, alive, children, free_port
from tests.support import eventually

pytestmark = pytest.mark.process


def test_a_folder_that_is_deleted_while_dev_looks_for_changes_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("spoils/gone", "spoils/here"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "some.py").touch()
    scan = os.scandir

    def scan_late(path: str | int) -> object:
        if str(path).endswith("gone"):
            shutil.rmtree(str(path))
        return scan(path)

    monkeypatch.setattr(development, "ROOT", tmp_path)
    monkeypatch.setattr(os, "scandir", scan_late)
    assert set(development._files()) == {"spoils/here/some.py"}


def status(port: int) -> None:
    """The web answers, and one worker is registered."""
    answer = requests.get(f"http://127.0.0.1:{port}/api/jobs/status", timeout=5).json()
    assert len(answer["workers"]) == 1


@pytest.mark.parametrize(
    ("number", "group"),
    # Ctrl-C and a closed terminal reach every process of it at once.
    [(signal.SIGTERM, False), (signal.SIGINT, True), (signal.SIGHUP, True)],
    ids=["SIGTERM to dev", "Ctrl-C", "a closed terminal"],
)
def test_dev_runs_web_and_worker_and_leaves_no_process_whichever_signal_ends_it(
    database_url: str, connection: Connection, number: signal.Signals, group: bool
) -> None:
    port = free_port()
    with Program("-m", "spoils", "dev", group=group, DATABASE_URL=database_url, PORT=str(port)) as dev:
        dev.says(f"Spoils runs on http://127.0.0.1:{port}", timeout=60)
        dev.says("Worker pool started", timeout=60)
        eventually(lambda: status(port), 60)
        started = dev.children
        assert len(started) == 2
        dev.send(number)
        assert dev.ends() == 0
    assert not [pid for pid in started if alive(pid)]
    assert "Traceback" not in dev.output
    assert connection.execute(text("SELECT ended_how FROM spoils_workers")).scalars().all() == ["clean"]


def test_dev_ends_all_when_one_of_its_programs_dies(database_url: str) -> None:
    with Program("-m", "spoils", "dev", DATABASE_URL=database_url, PORT=str(free_port())) as dev:
        dev.says("Worker pool started", timeout=60)
        started = dev.children
        assert len(started) == 2
        os.kill(started[0], signal.SIGKILL)
        assert dev.ends() == 1
    assert not [pid for pid in started if alive(pid)]


def test_what_dev_started_ends_when_dev_is_killed(database_url: str, connection: Connection) -> None:
    port = free_port()
    # The worker has a child of its own here.
    environment = {"DATABASE_URL": database_url, "PORT": str(port), "WORKER_PROCESSES": "2"}
    with Program("-m", "spoils", "dev", **environment) as dev:
        dev.says(f"Spoils runs on http://127.0.0.1:{port}", timeout=40)
        started: list[int] = []

        def all_run() -> None:
            web_and_family = dev.children
            started[:] = [*web_and_family, *(one for pid in web_and_family for one in children(pid))]
            assert dev.output.count("Worker pool started") == 2

        eventually(all_run, 60)
        assert len(started) == 4
        dev.send(signal.SIGKILL)
        assert dev.ends() == -signal.SIGKILL
        try:
            eventually(lambda: not any(map(alive, started)), 20)
        finally:
            for pid in filter(alive, started):
                os.kill(pid, signal.SIGKILL)
    assert connection.execute(text("SELECT ended_how FROM spoils_workers")).scalars().all() == ["clean"] * 2
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the programs whose files a test may change."""
    for name in ("spoils", "templates", "static"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "worker.py"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


SPILLING = """
from spoils.job import Job

class SpillingJob(Job):
    open = True

    def run(self, queue):
        raise LookupError("nobody here, token=s3cret")
"""


def test_dev_restarts_both_when_a_file_of_jobs_changes_and_stops_both_over_a_mistake(
    database_url: str, connection: Connection, clone: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/jobs"
    file = clone / "spoils" / "jobs" / "spilling.py"

    def runs(times: int) -> None:
        assert dev.output.count("Spoils runs on") == times
        assert dev.output.count("Worker pool started") == times

    with Program("-m", "spoils", "dev", folder=clone, DATABASE_URL=database_url, PORT=str(port)) as dev:
        eventually(lambda: runs(1), 60)
        first = dev.children

        file.write_text(SPILLING.replace("def run", "def runn"))
        dev.says(r"spoils/jobs/spilling\.py has changed: restarting web and worker", timeout=20)
        dev.says("Web and worker are stopped; they start when the mistake is corrected", timeout=40)
        dev.says(
            r"SpillingJob \(.*spilling\.py\): it has no run\(self, queue\), but a method runn: rename that"
        )
        assert not dev.children
        assert not [pid for pid in first if alive(pid)]
        query = text("SELECT ended_how FROM spoils_workers")
        assert connection.execute(query).scalars().all() == ["clean"]

        file.write_text(SPILLING)
        eventually(lambda: runs(2), 60)
        created = requests.post(f"{url}/spilling", json={}, timeout=20)
        assert created.status_code == 200
        dev.says(r"    \| .*spilling\.py.*, line 8, in run", timeout=20)
        dev.says(r"    \| LookupError: nobody here, token=••••••")
        assert "s3cret" not in dev.output

        # What this machine has enqueued, it may read back.
        own = f"{url}/{created.json()['id']}"
        eventually(lambda: requests.get(own, timeout=20).json()["state"] == "retried")
        dev.stop()
