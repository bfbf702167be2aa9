"""What an idle worker takes, and whether it grows over a million jobs."""

import os
import time
from pathlib import Path

from tests.bench import fill
from tests.bench.drain import worker
from tests.bench.latency import attends
from tests.bench.server import administer, ask

MIB = 2**20


def idle(url: str, seconds: float) -> dict[str, float]:
    """Resident MiB, share of one core in per cent, and transactions a second of a worker that has nothing to do.

    Without those that the server makes by itself in as many seconds, autovacuum above all.
    """
    administer(url, "TRUNCATE fang_tasks")
    before = _transactions(url)
    time.sleep(seconds)
    by_itself = _transactions(url) - before
    with worker(url) as program:
        attends(url)
        time.sleep(5)
        pid = program.process.pid
        cpu, before = _cpu_seconds(pid), _transactions(url)
        time.sleep(seconds)
        cpu, transactions = _cpu_seconds(pid) - cpu, _transactions(url) - before - by_itself
        resident = _resident(pid)
        program.process.terminate()
        program.ends()
    return {
        "resident MiB": resident / MIB,
        "CPU %": 100 * cpu / seconds,
        "transactions/s": transactions / seconds,
    }


def growth(url: str, number: int, step: int = 100_000) -> list[float]:
    """Resident MiB of one worker after each `step` of so many no-op jobs."""
    administer(url, "TRUNCATE fang_tasks")
    sizes = []
    with worker(url) as program:
        attends(url)
        for _ in range(number // step):
            fill.waiting(url, step, vacuum=False)
            while ask(url, "SELECT sum(delta) FROM spoils_counts WHERE state <> 'finished'")[0]:
                time.sleep(0.2)
            sizes.append(_resident(program.process.pid) / MIB)
            administer(url, "TRUNCATE fang_tasks")
        program.process.terminate()
        program.ends()
    return sizes


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _transactions(url: str) -> float:
    # Without our own: this look is one transaction, and the statistics of the one before are in by then.
    return (
        float(ask(url, "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")[0]) - 1
    )
