"""A performer in this process, against a real database, with what it hands over."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from spoils.config import Settings
from spoils.job import Job
from spoils.job.outcome import Ending
from spoils.job.registry import registry
from spoils.models import db
from spoils.queue.claim import Claim
from spoils.queue.enqueue import enqueue
from spoils.queue.settle import settle
from spoils.queue.settlement import Settlement, Token
from spoils.worker.performer import Performer
from spoils.worker.worker_application import create_worker_app
from tests.queue.hands import take
from tests.rows import Rows
from tests.sample_jobs import EFFECTS
from tests.support import in_thread


class Hands:
    """A performer, and what it gave out of its hands."""

    def __init__(
        self, settings: Settings, database_url: str, connection: Connection, worker_id: UUID
    ) -> None:
        self.worker_id = worker_id
        self.connection = connection
        self.settlements: list[Settlement] = []
        self.dropped: list[Token] = []
        self.stopping = threading.Event()
        app = create_worker_app(settings, database_url=database_url, worker_id=worker_id)
        with app.app_context():
            self.engine: Engine = db.engine
        self.performer = Performer(
            app=app,
            engine=self.engine,
            registry=registry,
            worker_id=worker_id,
            stopping=self.stopping,
            hand_over=self.settlements.append,
            drop=self.dropped.append,
        )

    def take(self, job: Job) -> Claim:
        task_id = enqueue(self.connection, job).id
        (claim,) = take(
            self.connection, self.worker_id, task_types=[job.task_type], kinds=[type(job).__name__]
        )
        assert claim.id == task_id
        return claim

    def perform(self, job: Job) -> Claim:
        return self.perform_claim(self.take(job))

    def perform_claim(self, claim: Claim) -> Claim:
        with self.performer.at_work():
            self.performer.perform(claim)
        return claim

    def perform_async(self, *jobs: Job) -> None:
        """Perform async jobs side by side, on one connection for their sessions."""
        claims = [self.take(job) for job in jobs]

        async def together() -> None:
            await asyncio.gather(*map(self.performer.perform_async, claims))

        in_thread(lambda: asyncio.run(together()))

    def settle(self) -> set[UUID]:
        written = settle(self.connection, self.settlements, worker_id=self.worker_id, release="v1")
        return {UUID(key) for key in written}

    @property
    def settlement(self) -> Settlement:
        """The only one."""
        (settlement,) = self.settlements
        return settlement

    @property
    def ending(self) -> Ending:
        return self.settlement.verdict.ending

    @property
    def error(self) -> str:
        report = self.settlement.verdict.report
        assert report is not None
        return f"{report.error_class}: {report.message}".removeprefix(": ")

    @property
    def idle(self) -> bool:
        """Whether every session connection is back in the pool."""
        return self.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@contextmanager
def performing(settings: Settings, database_url: str, connection: Connection, rows: Rows) -> Iterator[Hands]:
    connection.execute(text(EFFECTS))
    hands = Hands(settings, database_url, connection, rows.worker())
    yield hands
    assert hands.idle
    hands.engine.dispose()
