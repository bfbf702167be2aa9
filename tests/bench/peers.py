"""The same drain by other queues on the same server, where they are installed."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.server import database
from tests.programs import ROOT

PYTHON = {
    "PgQueuer, batches of 500": ["tests/bench/peer_pgqueuer.py", "1"],
    "PgQueuer, two processes": ["tests/bench/peer_pgqueuer.py", "2"],
}
NODE = {"graphile-worker, a local queue of 500": "graphile-worker", "pg-boss, batches of 500": "pg-boss"}
PACKAGES = ("graphile-worker@0.17.3", "pg-boss@10.4.2")
"""The newest that run on Node 20."""


def drains(url: str, number: int) -> dict[str, Callable[[], float]]:
    """A drain for each peer that is there: PgQueuer in .venv, and with Node those that npm installs once."""
    found: dict[str, Callable[[], float]] = {}
    if importlib.util.find_spec("pgqueuer"):
        for name, (program, processes) in PYTHON.items():
            command = [sys.executable, str(ROOT / program), "{url}", str(number), processes]
            found[name] = lambda command=command: _drain(url, command, ROOT)
    else:
        print("pgqueuer is not installed: it is left out.", file=sys.stderr)
    if (node := shutil.which("node")) and (folder := _installed()):
        for name, peer in NODE.items():
            command = [node, str(ROOT / "tests" / "bench" / "peers_node.cjs"), peer, "{url}", str(number)]
            found[name] = lambda command=command: _drain(url, command, folder)
    else:
        print("Node is not installed: graphile-worker and pg-boss are left out.", file=sys.stderr)
    return found


def _installed() -> Path | None:
    """The folder of the Node packages, installed there with npm if they are not yet."""
    folder = ROOT / ".spoils" / "peers"
    marker = folder / " ".join(PACKAGES).replace("/", "-")
    if not marker.exists():
        folder.mkdir(parents=True, exist_ok=True)
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *PACKAGES]
        if not shutil.which("npm") or subprocess.run(install, cwd=folder, check=False).returncode:
            return None
        marker.touch()
    return folder


def _drain(url: str, command: Sequence[str], folder: Path) -> float:
    """Jobs a second, from the first job's start to the last one's end, as the program prints them."""
    with database(url, migrated=False) as own:
        answer = subprocess.run(
            [own if part == "{url}" else part for part in command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
    return float(answer.stdout.split()[-1])
