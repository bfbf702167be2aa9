"""WORKER_THREADS by task type: pools that do not take each other's threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, text

from spoils.cli.start import check_worker_settings
from spoils.config import Settings
from spoils.errors import SettingError
from spoils.job import Job, Queue
from spoils.job.registry import Registry, registry
from spoils.queue.enqueue import enqueue
from spoils.worker.shutdown import Shutdown
from spoils.worker.startup import WorkerParts
from tests.rows import Rows
from tests.sample_jobs import EFFECTS, GateJob, SampleJob
from tests.support import eventually


@pytest.fixture
def known() -> Registry:
    known = Registry()
    known.add(GateJob)
    known.add(SampleJob)
    return known


@contextmanager
def worker(database_url: str, known: Registry, threads: str) -> Iterator[WorkerParts]:
    parts = WorkerParts(
        settings=Settings.from_env({"DATABASE_URL": database_url, "WORKER_THREADS": threads}),
        registry=known,
        database_url=database_url,
        on_registered=lambda: None,
        on_ended=lambda: None,
        on_threads_lost=lambda: None,
    )
    parts.start()
    try:
        yield parts
    finally:
        Shutdown(parts, seconds=1e8, declared_dead=False).run()


def open_gates(connection: Connection) -> None:
    connection.execute(text("INSERT INTO effects VALUES ('open', gen_random_uuid())"))


@pytest.mark.parametrize(("threads", "own"), [("gate:1,*:1", 1), ("common:1,gate:2,*:1", 2)])
def test_a_slow_type_fills_its_own_threads_and_no_others(
    *, database_url: str, known: Registry, connection: Connection, rows: Rows, threads: str, own: int
) -> None:
    connection.execute(text(EFFECTS))
    gates = [rows.task(metadata={"type": "GateJob"}, task_type="gate", priority=2) for _ in range(4)]
    with worker(database_url, known, threads) as parts:
        try:
            eventually(lambda: rows.effects("gate started") == own)
            # A row of the type `common` has the threads of that type, or those of all others.
            others = [enqueue(connection, SampleJob()).id]
            others.append(rows.task(metadata={"type": "SampleJob"}, task_type="common"))
            for task_id in others:
                rows.becomes(task_id, "finished")
            assert rows.effects("gate started") == own
            assert sum(pool.size for pool in parts.pools) == parts.heartbeat._capacity
        finally:
            open_gates(connection)
        for task_id in gates:
            rows.becomes(task_id, "finished")


def test_a_type_has_its_own_thread_while_another_fills_all_others(
    database_url: str, known: Registry, connection: Connection, rows: Rows
) -> None:
    connection.execute(text(EFFECTS))
    gate = rows.task(metadata={"type": "GateJob"}, task_type="gate")
    with worker(database_url, known, "sample:1,*:1"):
        try:
            rows.effect("gate started")
            rows.becomes(enqueue(connection, SampleJob()).id, "finished")
            assert rows.state(gate) == "in_progress"
        finally:
            open_gates(connection)
        rows.becomes(gate, "finished")


@pytest.mark.parametrize(
    ("threads", "sentence"),
    [
        ("nothing:2,*:5", 'no job class has the task type "nothing". There are: '),
        ("waits_async:2,*:5", 'the event loop runs the jobs of "waits_async", which are async.'),
    ],
)
def test_threads_of_a_type_that_none_could_use_are_refused(threads: str, sentence: str) -> None:
    class WaitsAsyncJob(Job):
        async def run(self, queue: Queue) -> None: ...

    assert registry.get("WaitsAsyncJob")
    with pytest.raises(SettingError) as caught:
        check_worker_settings(Settings.from_env({"WORKER_THREADS": threads}))
    assert str(caught.value).startswith(f"WORKER_THREADS is wrong: {sentence}")
