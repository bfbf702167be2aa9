"""The adapter with which the neutral benchmark measures Spoils; see README.md.

The process itself becomes `spoils worker`, so that the harness kills, stops and waits for the worker. Its child
enqueues jobs and reports to the harness; it ends when the worker ends, because the pipe from the jobs then closes.
"""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
from neutral_job import PIPE, RECORD, NeutralJob

from spoils import Client, __version__

HERE = Path(__file__).parent
MANIFEST = json.loads((HERE / "adapter.json").read_text())
INSTANCE = int(os.environ.get("BENCH_INSTANCE_ID", "0"))
WINDOW_SECONDS = 30
DEPTH = "SELECT count(*) FROM fang_tasks WHERE state IN ('new', 'retried')"


def setting(name: str, default: int) -> int:
    """A number that the harness sets."""
    return int(os.environ.get(name, default))


def say(**record: object) -> None:
    """Write one line for the harness."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {"system": MANIFEST["system"], "instance_id": INSTANCE, "t": stamp, **record}
    print(json.dumps(record), flush=True)


class Counters:
    """What this replica has done so far, and the depth of the queue."""

    def __init__(self) -> None:
        self.enqueued = self.completed = self.depth = 0
        # When each of the last jobs was reported, and its latencies to start and to end.
        self.latencies: deque[tuple[float, float, float]] = deque(maxlen=1 << 15)

    def read(self, pipe: int) -> None:
        """Count the jobs that the worker reports, and end this process with the worker."""
        while data := os.read(pipe, 1 << 16):
            now = time.monotonic()
            records = [(now, *record) for record in RECORD.iter_unpack(data)]
            self.latencies.extend(records)
            self.completed += len(records)
        os._exit(0)

    def poll_depth(self) -> None:
        """Read the depth of the queue five times a second."""
        while True:
            try:
                connection = psycopg2.connect(os.environ["DATABASE_URL"])
                connection.autocommit = True
                with connection.cursor() as cursor:
                    while True:
                        cursor.execute(DEPTH)
                        self.depth = cursor.fetchone()[0]
                        time.sleep(0.2)
            except psycopg2.Error:  # the harness stops the server and ends connections
                time.sleep(0.2)

    def enqueue(self) -> None:
        """Enqueue what the harness asks for, in bulk. What the database refuses is not enqueued again."""
        client = Client(connections=1)
        padding = "x" * setting("JOB_PAYLOAD_BYTES", 256)
        for number in self.batches():
            now = time.time()
            try:
                client.enqueue_many([NeutralJob(enqueued_at=now, padding=padding) for _ in range(number)])
            except Exception as error:  # noqa: BLE001 the harness goes on
                print(f"[spoils] {number} jobs not enqueued: {error}", file=sys.stderr, flush=True)
            else:
                self.enqueued += number

    def batches(self) -> Iterator[int]:
        """The sizes of the next batches, each at its time."""
        largest = setting("PRODUCER_BATCH_MAX", 128)
        if os.environ.get("PRODUCER_MODE") == "depth-target":
            target = setting("TARGET_DEPTH", 1000)
            while True:
                if (free := target - self.depth) > 0:
                    yield min(free, largest)
                else:
                    time.sleep(0.05)
        elif os.environ.get("PRODUCER_PACING") == "harness":
            for line in sys.stdin:
                yield int(line.removeprefix("ENQUEUE "))
        else:
            credit, last = 0.0, time.monotonic()
            while True:
                time.sleep(setting("PRODUCER_BATCH_MS", 25) / 1000)
                now = time.monotonic()
                credit += producer_rate() * (now - last)
                last = now
                if number := min(int(credit), largest):
                    credit -= number
                    yield number

    def report(self) -> None:
        """Report the rates and latencies every SAMPLE_EVERY_S seconds, beginning at a full multiple of them."""
        every = setting("SAMPLE_EVERY_S", 5)
        time.sleep(every - time.time() % every)
        enqueued, completed, last = self.enqueued, self.completed, time.monotonic()
        for due in itertools.count(last + every, every):
            time.sleep(max(0, due - time.monotonic()))
            now = time.monotonic()
            sample("enqueue_rate", (self.enqueued - enqueued) / (now - last), every)
            sample("completion_rate", (self.completed - completed) / (now - last), every)
            enqueued, completed, last = self.enqueued, self.completed, now
            recent = [latency for latency in list(self.latencies) if latency[0] > now - WINDOW_SECONDS]
            for place, names in ((1, ("claim", "subscriber")), (2, ("end_to_end",))):
                ordered = sorted(latency[place] * 1000 for latency in recent) or [0.0]
                for name in names:
                    for percentile in (50, 95, 99):
                        value = ordered[(len(ordered) - 1) * percentile // 100]
                        sample(f"{name}_p{percentile}_ms", value, WINDOW_SECONDS)
            if INSTANCE == 0:
                sample("queue_depth", self.depth, 0)
                sample("producer_target_rate", producer_rate(), 0)


def producer_rate() -> float:
    """How many jobs a second the harness wants now."""
    try:
        return float(Path(os.environ["PRODUCER_RATE_CONTROL_FILE"]).read_text())
    except (KeyError, OSError, ValueError):  # it may be half written
        return setting("PRODUCER_RATE", 800)


def sample(metric: str, value: float, window: float) -> None:
    """Report one value."""
    say(kind="adapter", subject_kind="adapter", subject="", metric=metric, value=value, window_s=window)


def main() -> None:
    """Migrate, start the child, and become the worker."""
    os.environ |= {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH")))),
        "SPOILS_JOBS": "neutral_job",
        "SPOILS_SHUTDOWN_SECONDS": "3",  # the harness allows five
        "WORKER_THREADS": os.environ.get("WORKER_COUNT", "32"),
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
    }
    spoils = [sys.executable, "-m", "spoils"]
    subprocess.run([*spoils, "migrate"], check=True, stdout=sys.stderr)
    pipe, of_jobs = os.pipe()
    if os.fork() == 0:
        os.close(of_jobs)
        counters = Counters()
        say(
            kind="descriptor",
            event_tables=MANIFEST["event_tables"],
            event_indexes=MANIFEST["event_indexes"],
            extensions=MANIFEST["extensions"],
            version=__version__,
            schema_version=__version__,
            db_name=MANIFEST["db_name"],
            started_at=datetime.now(UTC).isoformat(),
        )
        threading.Thread(target=counters.read, args=(pipe,), daemon=True).start()
        threading.Thread(target=counters.enqueue, daemon=True).start()
        if INSTANCE == 0 or os.environ.get("PRODUCER_MODE") == "depth-target":
            threading.Thread(target=counters.poll_depth, daemon=True).start()
        counters.report()
    os.environ[PIPE] = str(of_jobs)
    os.set_inheritable(of_jobs, True)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # standard output is the harness's
    os.execv(sys.executable, [*spoils, "worker"])


if __name__ == "__main__":
    main()
