"""What an idle worker takes, and whether it grows over a million jobs."""

import os
import threading
from pathlib import Path

from tests.bench import fill
from tests.bench.drain import worker
from tests.bench.latency import await_idle_worker
from tests.bench.server import administer, ask
from tests.support import eventually

MIB = 2**20


def idle(url: str, seconds: float) -> dict[str, float]:
    """Resident MiB, share of one core in per cent, and transactions a second of a worker that has nothing to do.

    Without those that the server makes by itself in as many seconds, autovacuum above all.
    """
    administer(url, "TRUNCATE fang_tasks")
    before = _transactions(url)
    pause = threading.Event()
    pause.wait(seconds)
    by_itself = _transactions(url) - before
    with worker(url) as program:
        await_idle_worker(url)
        pause.wait(5)  # until it has settled down
        pid = program.process.pid
        cpu, before = _cpu_seconds(pid), _transactions(url)
        pause.wait(seconds)
        cpu, transactions = _cpu_seconds(pid) - cpu, _transactions(url) - before - by_itself
        taken = resident(pid)
        program.stop()
    return {
        "resident MiB": taken / MIB,
        "CPU %": 100 * cpu / seconds,
        "transactions/s": transactions / seconds,
    }


def growth(url: str, number: int, step: int = 100_000) -> list[float]:
    """Resident MiB of one worker after each `step` of `number` no-op jobs."""
    administer(url, "TRUNCATE fang_tasks")
    sizes = []
    left = "SELECT coalesce(sum(delta), 0) FROM spoils_counts WHERE state <> 'finished'"
    with worker(url) as program:
        await_idle_worker(url)
        for _ in range(number // step):
            fill.waiting(url, step, vacuum=False)
            eventually(lambda: ask(url, left)[0] == 0, 300, every=0.2)
            sizes.append(resident(program.process.pid) / MIB)
            administer(url, "TRUNCATE fang_tasks")
        program.stop()
    return sizes


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _transactions(url: str) -> float:
    # Without our own: this query is one transaction, and the statistics of the one before are in by then.
    return (
        float(ask(url, "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")[0]) - 1
    )
