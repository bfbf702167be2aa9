"""Job classes that are measured."""

import os
import time
from pathlib import Path

import requests
from sqlalchemy import text

from spoils.job import Job, Queue


class NoopJob(Job):
    """Does nothing: what it takes is the queue's own cost."""

    number: int = 0

    def run(self, queue: Queue) -> None:
        return None


class OtherNoopJob(Job):
    """Another type that does nothing."""

    number: int = 0

    def run(self, queue: Queue) -> None:
        return None


class UniqueNoopJob(Job):
    """Does nothing, and its payload is unique."""

    number: int
    uniq = True

    def run(self, queue: Queue) -> None:
        return None


class SlowJob(Job):
    """Takes its time."""

    seconds: float

    def run(self, queue: Queue) -> None:
        time.sleep(self.seconds)


class StampJob(Job):
    """Writes when its first line ran, by this machine's monotonic clock, to a file: no query disturbs the clock."""

    number: int
    path: str

    def run(self, queue: Queue) -> None:
        moment = time.monotonic()
        with Path(self.path).open("a") as file:
            file.write(f"{self.number} {moment:.6f}\n")


class SessionJob(Job):
    """Works in the database for some twenty milliseconds; one in a hundred fails."""

    number: int
    max_retries = 0
    task_type = "mix"
    endpoint = "mix-session"

    def run(self, queue: Queue) -> None:
        queue.session.execute(text("SELECT pg_sleep(0.02)"))
        if self.number % 100 == 0:
            raise ValueError("One in a hundred fails.")


class CallJob(Job):
    """Calls a service that answers after a tenth of a second."""

    url: str
    task_type = "mix"
    endpoint = "mix-call"

    def run(self, queue: Queue) -> None:
        requests.get(self.url, timeout=10).raise_for_status()


class SharedTask(Job):
    """Writes a line, and takes 5 ms; bench/fang has the same in Rust."""

    number: int
    log: str
    task_type = "shared"

    def run(self, queue: Queue) -> None:
        with Path(self.log).open("a") as log:
            log.write(f"python {self.number}\n")
        time.sleep(0.005)


# Further types, as a large code base would have.
for _number in range(int(os.environ.get("BENCH_TYPES", "0"))):
    type(f"Extra{_number}Job", (Job,), {"__module__": __name__, "run": NoopJob.run})
