"""Workers of the Rust crate fang and ours on one table: how many tasks are performed more than once."""

import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from spoils.db.migrate import migrate
from tests.bench.drain import worker
from tests.bench.server import administer, ask, engine_of
from tests.programs import ROOT
from tests.support import eventually

PROGRAM = ROOT / "bench" / "fang" / "target" / "release" / "fang-beside-spoils"
WORKERS = 4
PORTION = 1000
WAITING = "SELECT count(*) FROM fang_tasks WHERE state IN ('new', 'retried')"
LEFT = "SELECT count(*) FROM fang_tasks WHERE state <> 'finished'"


def share(url: str, number: int, *, guard: bool) -> dict[str, float]:
    """Have four Rust and four Python workers perform `number` tasks; what each performed, and what ran twice."""
    engine = engine_of(url)
    migrate(engine, shared_with_fang=guard)
    engine.dispose()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        log.touch()
        with worker(url, WORKER_PROCESSES=str(WORKERS), WORKER_THREADS="1") as program, _fang(url):
            # Little at a time: fang sorts all that waits for each claim, and would leave nearly all to Python.
            for first in range(0, number, PORTION):
                administer(
                    url,
                    "INSERT INTO fang_tasks (metadata, task_type) SELECT jsonb_build_object("
                    f"'type', 'SharedTask', 'number', n, 'log', '{log}'), 'shared' "
                    f"FROM generate_series({first}, {min(first + PORTION, number) - 1}) AS n",
                )
                eventually(lambda: ask(url, WAITING)[0] < PORTION // 2, 60)
            eventually(lambda: ask(url, LEFT)[0] == 0, 60, every=0.5)
            program.stop()
        lines = [line.split() for line in log.read_text().splitlines()]
    runs = Counter(task for _, task in lines)
    assert len(runs) == number, f"{len(runs)} of {number} tasks were performed."
    took = "SELECT extract(epoch FROM max(updated_at) - min(updated_at))::float FROM fang_tasks"
    return {
        "runs in Python": sum(program == "python" for program, _ in lines),
        "runs in Rust": sum(program == "rust" for program, _ in lines),
        "tasks that ran more than once": sum(count > 1 for count in runs.values()),
        "seconds": ask(url, took)[0],
    }


@contextmanager
def _fang(url: str) -> Iterator[None]:
    if not PROGRAM.exists():
        raise SystemExit(f"There is no {PROGRAM}: run `cargo build --release` in bench/fang.")
    # Rust's reader of URLs takes no empty host; the one in the query is the socket's folder.
    there = make_url(url).set(host="localhost").render_as_string(hide_password=False)
    process = subprocess.Popen([PROGRAM, there, str(WORKERS)], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait(20)
