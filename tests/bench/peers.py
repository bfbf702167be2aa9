"""The same drain by two other queues on the same server, where they are installed."""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tests.bench.server import database

PROGRAMS = {
    "Procrastinate, concurrency 5": ("procrastinate", "tests/bench/peer_procrastinate.py", 3_000, []),
    "PgQueuer, batches of 500": ("pgqueuer", "tests/bench/peer_pgqueuer.py", None, ["1"]),
    "PgQueuer, two processes": ("pgqueuer", "tests/bench/peer_pgqueuer.py", None, ["2"]),
}


def drains(url: str, number: int) -> dict[str, Callable[[], float]]:
    """A drain for each peer that is there; Procrastinate's is of fewer jobs, since it takes so long."""
    found = {}
    for name, (package, program, most, more) in PROGRAMS.items():
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: it is left out.", file=sys.stderr)
            continue
        found[name] = lambda program=program, most=most, more=more: _drain(
            url, program, min(number, most or number), more
        )
    return found


def _drain(url: str, program: str, number: int, more: Sequence[str]) -> float:
    """Jobs a second, from the first job's start to the last one's end, as the program tells them."""
    with database(url, migrated=False) as own:
        answer = subprocess.run(
            [sys.executable, program, own, str(number), *more],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
    time.sleep(0.5)
    return float(answer.stdout.split()[-1])
