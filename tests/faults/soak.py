"""A long run under faults: jobs flow, processes die, the database restarts, and at the end every promise is checked.

`bin/soak --help` tells what may be asked for. It runs on a PostgreSQL of its own, which it removes.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from spoils.db import embedded_server
from spoils.db.embedded import EmbeddedPostgres
from spoils.db.embedded_files import find_files
from spoils.db.engine import make_engine
from spoils.db.migrate import migrate
from spoils.job import Job
from spoils.queue.enqueue import enqueue_surely
from spoils.queue.rescue import CONDEMNED
from tests.faults import invariants
from tests.faults.fleet import PROGRAM, kill_and_measure, percentile
from tests.faults.jobs import ChainJob, WorkJob
from tests.programs import Program
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import eventually

PROCESSES = 4
DRAIN_SECONDS = 180.0
MORE_FILES = 8
MORE_MIB = 60


class Soak:
    """A server, a family of workers, a stream of jobs, and what is done to them."""

    def __init__(self, stack: ExitStack, *, dice: random.Random, rate: float) -> None:
        self.dice = dice
        self._rate = rate
        home = Path(tempfile.mkdtemp(prefix="spoils-soak-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        self._postgres = EmbeddedPostgres(home / "postgres", settings={"max_connections": "200"})
        url = self._postgres.start()
        stack.callback(self._postgres.remove)
        self._files = find_files(home / "postgres" / "16", 16)
        self.engine = make_engine(url, connections=8, application_name="soak")
        stack.callback(self.engine.dispose)
        migrate(self.engine)
        self._asking = make_engine(url, connections=4, application_name="soak", autocommit=True)
        stack.callback(self._asking.dispose)
        with self._asking.connect() as connection:
            invariants.install(connection)
        self.accepted: list[UUID] = []
        self.refused = 0
        self._enough = threading.Event()
        self._numbers = iter(range(sys.maxsize))
        self.reruns: list[float] = []
        self.faults = {"kills": 0, "terms": 0, "freezes": 0, "restarts": 0}
        self.family = stack.enter_context(
            Program(
                PROGRAM,
                DATABASE_URL=url,
                WORKER_PROCESSES=str(PROCESSES),
                WORKER_THREADS="8",
                SPOILS_SHUTDOWN_SECONDS="2",
                LOG_LEVEL="WARNING",
            )
        )
        self._stream = threading.Thread(target=self._flow, name="stream", daemon=True)

    def start(self) -> None:
        self._stream.start()
        self.await_workers()

    def rows(self, stack: ExitStack) -> Rows:
        return Rows(stack.enter_context(self._asking.connect()))

    def await_workers(self, number: int = PROCESSES, timeout: float = 90.0) -> None:
        """Wait until so many workers beat; the database may be away meanwhile."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with suppress(DBAPIError), ExitStack() as stack:
                live = self.rows(stack).value(
                    "SELECT count(*) FROM spoils_workers WHERE ended_at IS NULL "
                    "AND beat_at > clock_timestamp() - interval '2 s'"
                )
                if live >= number:
                    return
            threading.Event().wait(0.2)
        raise AssertionError(
            f"{number} workers do not beat after {timeout:.0f} s:\n{self.family.output[-3000:]}"
        )

    def kill(self) -> None:
        """SIGKILL to a worker with tasks in its hands; how long until they run again."""
        with ExitStack() as stack:
            self.reruns += kill_and_measure(self.rows(stack), self.dice)
        self.faults["kills"] += 1

    def term(self) -> None:
        self._signal(signal.SIGTERM)
        self.faults["terms"] += 1

    def freeze(self) -> None:
        """SIGSTOP for longer than a worker may be silent, and SIGCONT."""
        pid = self._signal(signal.SIGSTOP)
        try:
            with ExitStack() as stack:
                rows = self.rows(stack)
                deadline = time.monotonic() + 60
                while rows.value(
                    "SELECT count(*) FROM spoils_workers WHERE pid = :pid AND ended_at IS NULL", pid=pid
                ):
                    assert time.monotonic() < deadline, "a frozen worker was not taken for dead within 60 s"
                    threading.Event().wait(0.2)
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: _has_ended(pid), 60)
        self.faults["freezes"] += 1

    def restart(self) -> None:
        """Stop the database at once and start it again; nobody may be taken for dead by that."""
        before = self._mistaken()
        embedded_server.halt(self._files, mode="immediate")
        threading.Event().wait(self.dice.uniform(0, 8))
        self._postgres.start()
        self.await_workers()
        threading.Event().wait(5)
        assert self._mistaken() == before, (
            f"a healthy worker was taken for dead:\n{self.family.output[-3000:]}"
        )
        self.faults["restarts"] += 1

    def drain(self) -> None:
        """End the stream, and wait until nothing that is due is left."""
        self._enough.set()
        self._stream.join(60)
        deadline = time.monotonic() + DRAIN_SECONDS
        with ExitStack() as stack:
            rows = self.rows(stack)
            while rows.value(
                "SELECT count(*) FROM fang_tasks WHERE state NOT IN ('finished', 'failed') "
                "AND task_type <> 'every_second'"
            ):
                if time.monotonic() > deadline:
                    return
                threading.Event().wait(0.5)

    def resources(self) -> dict[int, tuple[int, int, int]]:
        """Threads, open files and MiB of each live worker, by its process."""
        with ExitStack() as stack:
            pids = self.rows(stack).all(
                "SELECT pid FROM spoils_workers WHERE ended_at IS NULL ORDER BY started_at"
            )
        found = {}
        for (pid,) in pids:
            with suppress(FileNotFoundError, ProcessLookupError):
                folder = Path(f"/proc/{pid}")
                threads = len(list((folder / "task").iterdir()))
                files = len(list((folder / "fd").iterdir()))
                pages = int((folder / "statm").read_text().split()[1])
                found[pid] = (threads, files, pages * os.sysconf("SC_PAGE_SIZE") // 2**20)
        return found

    def _mistaken(self) -> int:
        """How many workers found, alive, that they had been taken for dead; one that was frozen is among them."""
        return self.family.output.count("This worker was taken for dead")

    def _signal(self, number: signal.Signals) -> int:
        with ExitStack() as stack:
            pids = self.rows(stack).all(
                "SELECT pid FROM spoils_workers WHERE ended_at IS NULL AND NOT draining "
                "AND beat_at > clock_timestamp() - interval '2 s' ORDER BY pid"
            )
        (pid,) = self.dice.choice(pids)
        os.kill(pid, number)
        return int(pid)

    def _flow(self) -> None:
        begun, put = time.monotonic(), 0
        while not self._enough.wait(0.05):
            wanted = int((time.monotonic() - begun) * self._rate)
            # After an outage the stream goes on at its rate: it does not catch up.
            put = max(put, wanted - int(self._rate))
            while put < wanted and not self._enough.is_set():
                put += 1
                try:
                    enqueued = enqueue_surely(self.engine, self._job())
                except (DBAPIError, PoolTimeout):
                    self.refused += 1
                    break
                self.accepted.append(enqueued.id)

    def _job(self) -> Job:
        number = next(self._numbers)
        kind = self.dice.random()
        if kind < 0.4:
            return SampleJob(number=number)
        if kind < 0.8:
            seconds = round(self.dice.choice([0.0, 0.05, 0.3, 1.0]), 2)
            return WorkJob(number=number, seconds=seconds, transactional=self.dice.random() < 0.5)
        if kind < 0.9:
            return ChainJob(number=number)
        return UniqueSampleJob(number=self.dice.randrange(20))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bin/soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=0, help="run so long: a kill a minute, a restart every ten"
    )
    parser.add_argument(
        "--kills", type=int, default=0, help="kill a worker so often, each with tasks in its hands"
    )
    parser.add_argument("--terms", type=int, default=0, help="tell a worker to stop so often")
    parser.add_argument("--freezes", type=int, default=0, help="freeze a worker past its lease so often")
    parser.add_argument("--restarts", type=int, default=0, help="shoot and start the database so often")
    parser.add_argument("--rate", type=float, default=50, help="jobs a second (50)")
    parser.add_argument("--seed", type=int, default=None, help="play a run's dice again")
    wanted = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if wanted.seed is None else wanted.seed
    print(f"seed {seed}", flush=True)
    failure: str | None = None
    with ExitStack() as stack:
        soak = Soak(stack, dice=random.Random(seed), rate=wanted.rate)
        soak.start()
        before = soak.resources()
        begun = time.monotonic()
        try:
            _faults(soak, wanted)
        except AssertionError as exc:
            failure = str(exc)
        soak.drain()
        after = soak.resources()
        rows = soak.rows(stack)
        broken = {
            name: found
            for name, found in invariants.broken_promises(rows, set(soak.accepted)).items()
            if found
        }
        broken |= _left_over(rows) | _leaks(before, after)
        _report(soak, rows, before, after, time.monotonic() - begun)
    if failure:
        broken["while it ran"] = [failure]
    for name, found in broken.items():
        print(f"BROKEN  {name}: {found[:5]} ({len(found)} in all)")
    if broken:
        print(f"The workers said at last:\n{soak.family.output[-6000:]}")
    print("Every promise held." if not broken else f"{len(broken)} promises were broken; seed {seed}.")
    return 1 if broken else 0


def _faults(soak: Soak, wanted: argparse.Namespace) -> None:
    acts = [soak.kill] * wanted.kills + [soak.term] * wanted.terms
    acts += [soak.freeze] * wanted.freezes + [soak.restart] * wanted.restarts
    soak.dice.shuffle(acts)
    for number, act in enumerate(acts, 1):
        act()
        soak.await_workers(PROCESSES - 1)
        if number % 10 == 0:
            print(f"{number} of {len(acts)} faults: {soak.faults}", flush=True)
    end = time.monotonic() + wanted.minutes * 60
    minute = 0
    while (left := end - time.monotonic()) > 0:
        threading.Event().wait(min(60.0, left))
        minute += 1
        if time.monotonic() >= end:
            break
        (soak.restart if minute % 10 == 0 else soak.kill)()
        print(f"minute {minute}: {len(soak.accepted)} accepted, {soak.faults}", flush=True)


def _has_ended(pid: int) -> None:
    assert not Path(f"/proc/{pid}").exists(), "a worker that was taken for dead did not end"


def _left_over(rows: Rows) -> dict[str, list[object]]:
    left = rows.all(
        "SELECT id, task_type, state, attempts, crashes, scheduled_at - now() FROM fang_tasks "
        "WHERE state NOT IN ('finished', 'failed') AND task_type <> 'every_second'"
    )
    # No job of the stream fails by itself.
    failed = rows.all(
        "SELECT id, task_type, attempts, crashes, error_message FROM fang_tasks "
        "WHERE state = 'failed' AND error_message <> :condemned",
        condemned=CONDEMNED,
    )
    found = {"a task is still not done": left, "a task failed of something but deaths": failed}
    return {name: rows for name, rows in found.items() if rows}


def _leaks(
    before: dict[int, tuple[int, int, int]], after: dict[int, tuple[int, int, int]]
) -> dict[str, list[object]]:
    # A process that was started again is measured against what its like had at the beginning.
    files = max(files for _, files, _ in before.values())
    threads = max(threads for threads, _, _ in before.values())
    memory = max(memory for _, _, memory in before.values())
    leaks = [
        (pid, figures)
        for pid, figures in after.items()
        if figures[0] > threads + 2 or figures[1] > files + MORE_FILES or figures[2] > memory + MORE_MIB
    ]
    return {"a worker has more threads, files or memory than at the beginning": leaks} if leaks else {}


def _report(
    soak: Soak,
    rows: Rows,
    before: dict[int, tuple[int, int, int]],
    after: dict[int, tuple[int, int, int]],
    seconds: float,
) -> None:
    accepted = set(soak.accepted)
    states = dict(
        rows.all(
            "SELECT state::text, count(*) FROM fang_tasks WHERE id = ANY(:ids) GROUP BY 1", ids=list(accepted)
        )
    )
    lost = len(accepted) - sum(states.values())
    doubles = rows.value(
        "SELECT count(*) FROM (SELECT FROM audit WHERE becomes = 'finished' GROUP BY task_id HAVING count(*) > 1) AS d"
    )
    reruns = soak.reruns
    told = (
        f"{percentile(reruns, 50):.1f} / {percentile(reruns, 99):.1f} / {max(reruns):.1f} of {len(reruns)}"
        if reruns
        else "–"
    )
    table = {
        "seconds": f"{seconds:.0f}",
        "faults": ", ".join(f"{number} {name}" for name, number in soak.faults.items() if number) or "none",
        "accepted": f"{len(accepted)} ({len(soak.accepted)} answers, {soak.refused} refused in outages)",
        "finished": str(states.get("finished", 0)),
        "failed": f"{states.get('failed', 0)} (condemned at a third death alone)",
        "lost": str(lost),
        "double outcomes": str(doubles),
        "kill to rerun, s (p50 / p99 / max)": told,
        "workers taken for dead": str(len(invariants.taken_for_dead(rows))),
        "per worker at start (threads, files, MiB)": str(list(before.values())),
        "per worker at end": str(list(after.values())),
    }
    width = max(map(len, table))
    for name, value in table.items():
        print(f"{name:<{width}}  {value}")


if __name__ == "__main__":
    sys.exit(main())
