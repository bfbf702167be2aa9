"""Which step of docs/scaling.md a load needs, reckoned from the figures of docs/performance.md."""

from dataclasses import dataclass
from math import ceil

DRAINED_PER_SECOND = 25_188
"""Empty jobs, by one server and two worker processes on two cores."""
WAL_BYTES = 2_000
"""Of one job: 120 MB for 60,000 of them."""
ROWS_MEASURED = 10_000_000
"""Beside so many finished jobs, drains and pages are as fast as beside none."""
WORKER_CONNECTIONS, WEB_CONNECTIONS = 6, 12
"""Of one worker process, and of two web hosts with two processes each."""
DEFAULT_CONNECTIONS = 100
THREADS, UTILISATION = 5, 0.7
RETENTION_DAYS = 7
LOADS = ((1, 1.0), (10, 1.0), (50, 1.0), (100, 0.5), (1_000, 0.1), (3_000, 0.05), (15_000, 0.01))


@dataclass(frozen=True)
class Load:
    """Jobs a second that take so many seconds each."""

    rate: int
    seconds: float

    @property
    def processes(self) -> int:
        return ceil(self.rate * self.seconds / THREADS / UTILISATION)

    @property
    def connections(self) -> int:
        return self.processes * WORKER_CONNECTIONS + WEB_CONNECTIONS

    @property
    def rows(self) -> int:
        return self.rate * 86_400 * RETENTION_DAYS

    @property
    def share(self) -> float:
        """Of what the measured server can do."""
        return self.rate / DRAINED_PER_SECOND

    @property
    def steps(self) -> list[str]:
        due = {
            "a pooler": self.connections > DEFAULT_CONNECTIONS,
            "a shorter retention": self.rows > ROWS_MEASURED,
            "a database of its own": self.share > 0.1,
            "shards": self.share > 0.5,
        }
        return [step for step, is_due in due.items() if is_due]


def table() -> str:
    """The loads and what each needs, as a table of the document."""
    columns = (
        "jobs a second",
        "seconds a job",
        "worker processes",
        "connections",
        "finished jobs kept",
        "WAL a second",
        "needs",
    )
    loads = [
        f"{load.rate:,} | {load.seconds:g} | {load.processes:,} | {load.connections:,} | {load.rows:,} | "
        f"{load.rate * WAL_BYTES / 1e6:g} MB | {', '.join(load.steps) or 'nothing more'}"
        for load in (Load(*one) for one in LOADS)
    ]
    lines = [" | ".join(columns), " | ".join(["---"] * len(columns)), *loads]
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    print(table())
