"""A worker process that shares its table with fang's workers."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from spoils.config import Settings
from spoils.job.registry import Registry
from spoils.queue.enqueue import enqueue
from spoils.worker.dispatcher import Orders
from spoils.worker.shutdown import Shutdown
from spoils.worker.startup import WorkerParts
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.support import eventually


@pytest.fixture
def worker(database_url: str) -> Iterator[WorkerParts]:
    registry = Registry()
    registry.add(SampleJob)
    parts = WorkerParts(
        settings=Settings.from_env({"DATABASE_URL": database_url, "SPOILS_SHARED_WITH_FANG": "1"}),
        registry=registry,
        database_url=database_url,
        on_registered=lambda: None,
        on_ended=lambda: None,
        on_threads_lost=lambda: None,
    )
    parts.start()
    yield parts
    Shutdown(parts, seconds=1e8, declared_dead=False).run()


@pytest.fixture
def suspects_due(worker: WorkerParts) -> list[bool]:
    """What each heartbeat says: whether a task is due that was running at two deaths."""
    said: list[bool] = []
    pass_on = worker.heartbeat._on_orders

    def listen(orders: Orders) -> None:
        said.append(orders.suspect_due)
        pass_on(orders)

    worker.heartbeat._on_orders = listen
    return said


def test_classes_that_this_release_lacks_are_left_to_fang_in_every_way_of_claiming(
    worker: WorkerParts, suspects_due: list[bool], connection: Connection, rows: Rows
) -> None:
    strange = [
        rows.task(metadata={"type": "OfRust"}),
        rows.task(metadata={"type": "OfRust"}, crashes=2),
    ]

    def performed() -> None:
        known = enqueue(connection, SampleJob()).id

        def finished() -> None:
            assert rows.state(known) == "finished"

        eventually(finished)

    def has_beaten() -> None:
        beats.add(rows.value("SELECT beat_at::text FROM spoils_workers"))
        assert len(beats) > 2

    performed()
    beats: set[str] = set()
    eventually(has_beaten)
    assert True not in suspects_due
    strange.append(rows.task(metadata={"type": "OfRust"}))  # an idle worker is notified of it
    performed()
    assert rows.all(
        "SELECT DISTINCT state::text, attempts FROM fang_tasks WHERE id = ANY(:ids)", ids=strange
    ) == [("new", 0)]
