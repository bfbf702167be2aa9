"""Where a soak plays: a server, workers, a stream of jobs, and the proxies between them."""

import itertools
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from spoils.db.embedded import EmbeddedPostgres
from spoils.db.embedded_files import find_files
from spoils.db.engine import make_engine
from spoils.job import Job
from spoils.queue.enqueue import enqueue_surely
from tests.databases import migrate_at
from tests.faults import invariants
from tests.faults.jobs import ChainJob, WorkJob
from tests.faults.proxy import Proxy
from tests.faults.soak.crew import Crowd, Family
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob

GRACE_SECONDS = 4.0
"""How long a stopping worker lets its jobs go on."""
LONG_JOB_SECONDS = 8.0
WORK_SHARE = 0.5
DRAIN_SECONDS = 600.0
SETTLED_SECONDS = 3.0
"""By then each worker has seen the heartbeats of the others move."""

Figures = tuple[int, int, int]
"""Threads, open files and MiB of one process."""


@dataclass(frozen=True)
class Plan:
    """What a soak is asked for, faults aside."""

    rate: float
    processes: int
    apart: bool
    threads: int
    in_flight: int
    """How many jobs are to run at once on average, and more; the jobs' lengths follow from it."""
    long_jobs: float
    """The share of jobs that no grace is long enough for."""
    proxies: bool


class Stage:
    """Everything that a soak acts upon. Its stream and its workers run from `start` to `drain`."""

    def __init__(self, stack: ExitStack, *, dice: random.Random, plan: Plan) -> None:
        self.plan = plan
        self._dice = dice
        # The stream's own: else a fault's choice would depend on how many jobs went by.
        self._stream_dice = random.Random(dice.random())
        home = Path(tempfile.mkdtemp(prefix="spoils-soak-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        self.postgres = EmbeddedPostgres(home / "postgres", settings={"max_connections": "300"})
        url = self.postgres.start()
        stack.callback(self.postgres.remove)
        self.files = find_files(home / "postgres" / "16", 16)
        self._asking = make_engine(url, connections=6, application_name="soak", autocommit=True)
        stack.callback(self._asking.dispose)
        migrate_at(url)
        with self._asking.connect() as connection:
            invariants.install(connection)
        self.proxy = self.client_proxy = None
        if plan.proxies:
            self.proxy = stack.enter_context(Proxy(url))
            self.client_proxy = stack.enter_context(Proxy(url))
        self._engine = make_engine(
            self.client_proxy.url if self.client_proxy else url, connections=4, application_name="soak"
        )
        stack.callback(self._engine.dispose)
        # Half of the jobs take 0.92 units on average; a third more of them than asked for.
        self._unit_seconds = max(1.0, 1.3 * plan.in_flight / (plan.rate * WORK_SHARE * 0.92))
        self.accepted: list[UUID] = []
        self.refused = 0
        self._enough = threading.Event()
        self._numbers = itertools.count()
        self.crew = (Crowd if plan.apart else Family)(
            stack,
            plan.processes,
            database_url=self.proxy.url if self.proxy else url,
            WORKER_THREADS=str(plan.threads),
            SPOILS_DB_CONNECTIONS=str(plan.threads + 3),
            SPOILS_SHUTDOWN_SECONDS=str(GRACE_SECONDS),
            LOG_LEVEL="WARNING",
        )
        self._stream = threading.Thread(target=self._flow, name="stream", daemon=True)

    def start(self) -> None:
        """Let the jobs flow, and wait until every worker is at work and may be judged."""
        self._stream.start()
        self.await_workers()
        threading.Event().wait(SETTLED_SECONDS)

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        with self._asking.connect() as connection:
            yield Rows(connection)

    def pids(self) -> list[int]:
        """The processes of the live workers that are not stopping, the oldest first."""
        with self.rows() as rows:
            found = rows.all(
                "SELECT pid FROM spoils_workers WHERE ended_at IS NULL AND NOT draining "
                "AND beat_at > clock_timestamp() - interval '2 s' ORDER BY started_at, pid"
            )
        # The row of one that was killed holding nothing says for a while yet that it lives.
        return [pid for (pid,) in found if Path(f"/proc/{pid}").exists()]

    def await_workers(self, number: int | None = None, timeout: float = 90.0) -> None:
        """Wait until `number` workers send heartbeats (by default all); the database may be away meanwhile."""
        number = self.plan.processes if number is None else number
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with suppress(DBAPIError):
                if len(self.pids()) >= number:
                    return
            threading.Event().wait(0.1)
        raise AssertionError(
            f"{number} workers send no heartbeats after {timeout:.0f} s:\n{self.crew.output[-3000:]}"
        )

    def await_in_flight(self, number: int, timeout: float = 120.0) -> None:
        """Wait until `number` tasks are in progress at once."""
        deadline = time.monotonic() + timeout
        with self.rows() as rows:
            while rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'in_progress'") < number:
                assert time.monotonic() < deadline, f"{number} tasks were never in flight at once"
                threading.Event().wait(0.05)

    def drain(self) -> None:
        """End the stream, and wait until nothing that is due is left."""
        self._enough.set()
        self._stream.join(60)
        deadline = time.monotonic() + DRAIN_SECONDS
        with self.rows() as rows:
            while time.monotonic() < deadline and rows.value(
                "SELECT count(*) FROM fang_tasks WHERE state NOT IN ('finished', 'failed') "
                "AND task_type <> 'every_second'"
            ):
                threading.Event().wait(0.5)

    def figures(self) -> dict[int, Figures]:
        """What each live worker uses, by its process."""
        found = {}
        for pid in self.pids():
            with suppress(FileNotFoundError, ProcessLookupError):
                folder = Path(f"/proc/{pid}")
                threads = len(list((folder / "task").iterdir()))
                files = len(list((folder / "fd").iterdir()))
                pages = int((folder / "statm").read_text().split()[1])
                found[pid] = (threads, files, pages * os.sysconf("SC_PAGE_SIZE") // 2**20)
        return found

    def _flow(self) -> None:
        begun, put = time.monotonic(), 0
        while not self._enough.wait(0.05):
            wanted = int((time.monotonic() - begun) * self.plan.rate)
            # After an outage the stream goes on at its rate: it does not catch up.
            put = max(put, wanted - int(self.plan.rate))
            while put < wanted and not self._enough.is_set():
                put += 1
                try:
                    enqueued = enqueue_surely(self._engine, self._job())
                except (DBAPIError, PoolTimeout):
                    self.refused += 1
                    break
                self.accepted.append(enqueued.id)

    def _job(self) -> Job:
        number = next(self._numbers)
        dice = self._stream_dice
        if dice.random() < self.plan.long_jobs:
            return WorkJob(number=number, seconds=LONG_JOB_SECONDS, transactional=dice.random() < 0.5)
        kind = dice.random()
        if kind < 0.8 - WORK_SHARE:
            return SampleJob(number=number)
        if kind < 0.8:
            seconds = self._unit_seconds * dice.choice([0.0, 0.1, 1.0, 1.5, 2.0])
            return WorkJob(number=number, seconds=round(seconds, 2), transactional=dice.random() < 0.5)
        if kind < 0.9:
            return ChainJob(number=number)
        return UniqueSampleJob(number=dice.randrange(20))
