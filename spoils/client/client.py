"""The client: enqueue jobs and read their status, in the caller's transaction or in a short one of its own."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from spoils.client.connections import PUT_BATCH, aput, put
from spoils.client.status import BatchStatus, JobStatus, read_batch_status, read_status
from spoils.config import Settings
from spoils.db.engine import make_engine
from spoils.db.url import database_url
from spoils.job import Job, OnDuplicate
from spoils.job.base import Batch, Chain
from spoils.job.batch import Condition
from spoils.models import TaskState
from spoils.queue.batches import as_json, new_batch, new_chain
from spoils.queue.enqueue import Enqueued, enqueue_surely, for_function, log_enqueued, row
from spoils.queue.enqueue_many import Order
from spoils.queue.enqueue_many import enqueue_many as put_many
from spoils.queue.ids import new_keys

FIRST_LOOK_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 1.0
"""`wait` reads the status after a pause that doubles from the first of these to the second."""


class Client:
    """Enqueues jobs into one database and reads their status. Threads may share it; it opens at most `connections`.

    Example:
        client = Client("postgres://localhost/shop")
        job = client.enqueue(ChargeCard(order_id=7))
        client.wait(job.id, timeout=20).state   # "finished"
    """

    def __init__(self, url: str | None = None, *, connections: int = 3) -> None:
        """`url` is a postgres:// URL; by default that of DATABASE_URL. Raises SettingError where that is wrong."""
        self._url = url or database_url(Settings.from_env())
        self._engine = make_engine(self._url, connections=connections, application_name="spoils:client")
        # A forked process that used its parent's connections would read the parent's answers.
        os.register_at_fork(after_in_child=lambda: self._engine.dispose(close=False))

    def enqueue(
        self,
        job: Job,
        *,
        connection: Any = None,
        at: datetime | None = None,
        priority: int = 0,
        on_duplicate: OnDuplicate = "skip",
    ) -> Enqueued:
        """Enqueue `job`. Returns its `id`, and whether it is a `duplicate`: the id is then that of the job that already
        waits or runs.

        With `connection` (an SQLAlchemy Session, scoped_session or Connection, a psycopg2 or psycopg connection,
        Django's connection) it is part of that transaction: it is enqueued when that commits, and not if it rolls back.
        Without one it has a short transaction of its own.

        `at` is the aware datetime before which it is not due, `priority` -2 … 2, higher first. `on_duplicate` says what
        becomes of an equal unique job that waits: "skip" leaves it, "replace" gives it the new payload, "reschedule"
        the new payload and moment.
        Raises PayloadError for a payload that cannot be stored, TypeError for another connection, and the errors of
        the database.
        """
        if connection is None:
            enqueued = enqueue_surely(self._engine, job, at=at, priority=priority, on_duplicate=on_duplicate)
            log_enqueued(job, enqueued)
            return enqueued
        return self.enqueue_many(
            [job], connection=connection, at=at, priority=priority, on_duplicate=on_duplicate
        )[0]

    def enqueue_many(
        self,
        jobs: Sequence[Job],
        *,
        connection: Any = None,
        at: datetime | None = None,
        priority: int = 0,
        on_duplicate: OnDuplicate = "skip",
    ) -> list[Enqueued]:
        """Enqueue all, in their order and in one transaction. Returns and raises what `enqueue` does for each."""
        if connection is not None:
            return enqueue_on(connection, jobs, at=at, priority=priority, on_duplicate=on_duplicate)
        with self._engine.begin() as own:
            return put_many(own, [Order(job, at, priority, on_duplicate) for job in jobs])

    async def aenqueue(
        self,
        job: Job,
        *,
        connection: Any = None,
        at: datetime | None = None,
        priority: int = 0,
        on_duplicate: OnDuplicate = "skip",
    ) -> Enqueued:
        """`enqueue` for asynchronous applications: `connection` is an SQLAlchemy AsyncSession or AsyncConnection, a
        psycopg AsyncConnection or an asyncpg connection. Without one, a thread does it."""
        if connection is None:
            return await asyncio.to_thread(
                self.enqueue, job, at=at, priority=priority, on_duplicate=on_duplicate
            )
        (enqueued,) = await self.aenqueue_many(
            [job], connection=connection, at=at, priority=priority, on_duplicate=on_duplicate
        )
        return enqueued

    async def aenqueue_many(
        self,
        jobs: Sequence[Job],
        *,
        connection: Any = None,
        at: datetime | None = None,
        priority: int = 0,
        on_duplicate: OnDuplicate = "skip",
    ) -> list[Enqueued]:
        """`enqueue_many` for asynchronous applications."""
        if connection is not None:
            return await aenqueue_on(connection, jobs, at=at, priority=priority, on_duplicate=on_duplicate)
        return await asyncio.to_thread(
            self.enqueue_many, jobs, at=at, priority=priority, on_duplicate=on_duplicate
        )

    @contextmanager
    def batch(
        self,
        *,
        then: Job | None = None,
        name: str | None = None,
        on: Condition = "end",
        connection: Any = None,
    ) -> Iterator[Batch]:
        """Enqueue jobs as a batch at the end of the block; `then` is enqueued after the last of them.

            with client.batch(then=Report(day=day), name="night import") as batch:
                batch.enqueue(Import(shop=7))

        `on` is as in `Queue.batch`, `connection` as in `enqueue`. Where the block raises, nothing is enqueued.
        """
        with _collecting(new_batch(then=then, name=name, on=on)) as batch:
            yield batch
        _put(batch, connection, self)

    @asynccontextmanager
    async def abatch(
        self,
        *,
        then: Job | None = None,
        name: str | None = None,
        on: Condition = "end",
        connection: Any = None,
    ) -> AsyncIterator[Batch]:
        """`batch` for asynchronous applications, with the connections of `aenqueue`."""
        with _collecting(new_batch(then=then, name=name, on=on)) as batch:
            yield batch
        await _aput(batch, connection, self)

    def chain(
        self,
        first: Job,
        /,
        *others: Job,
        name: str | None = None,
        at: datetime | None = None,
        priority: int = 0,
        connection: Any = None,
    ) -> UUID:
        """Enqueue `first`, and each other job when the one before it has finished. The id of the chain."""
        chain = new_chain([first, *others], name=name, at=at, priority=priority)
        _put(chain, connection, self)
        return chain.id

    async def achain(
        self,
        first: Job,
        /,
        *others: Job,
        name: str | None = None,
        at: datetime | None = None,
        priority: int = 0,
        connection: Any = None,
    ) -> UUID:
        """`chain` for asynchronous applications."""
        chain = new_chain([first, *others], name=name, at=at, priority=priority)
        await _aput(chain, connection, self)
        return chain.id

    def get_batch(self, batch_id: UUID) -> BatchStatus | None:
        """The status of a batch or chain; None where there is none of this id, or it was removed."""
        with self._engine.begin() as connection:
            return read_batch_status(connection, batch_id)

    def get(self, job_id: UUID) -> JobStatus | None:
        """The status of a job; None where there is none of this id, or it was removed."""
        with self._engine.begin() as connection:
            return read_status(connection, job_id)

    def wait(self, job_id: UUID, *, timeout: float) -> JobStatus:
        """Wait until a job is finished or failed.

        Raises TimeoutError after `timeout` seconds, LookupError if there is no such job.
        """
        ends_at = time.monotonic() + timeout
        pause = FIRST_LOOK_SECONDS
        while True:
            status = self.get(job_id)
            if status is None:
                raise LookupError(f"There is no job {job_id}.")
            if status.ended:
                return status
            left = ends_at - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"Job {job_id} is still {status.state} after {timeout:g} s.")
            threading.Event().wait(min(pause, left))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def aget(self, job_id: UUID) -> JobStatus | None:
        """`get` for asynchronous applications."""
        return await asyncio.to_thread(self.get, job_id)

    async def await_end(self, job_id: UUID, *, timeout: float) -> JobStatus:
        """`wait` for asynchronous applications."""
        return await asyncio.to_thread(self.wait, job_id, timeout=timeout)

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()


def enqueue_on(
    connection: Any,
    jobs: Sequence[Job],
    *,
    at: datetime | None = None,
    priority: int = 0,
    on_duplicate: OnDuplicate = "skip",
) -> list[Enqueued]:
    """Enqueue all as part of the transaction of `connection`, which needs no client."""
    return _enqueued(put(connection, _rows(jobs, at, priority, on_duplicate)))


async def aenqueue_on(
    connection: Any,
    jobs: Sequence[Job],
    *,
    at: datetime | None = None,
    priority: int = 0,
    on_duplicate: OnDuplicate = "skip",
) -> list[Enqueued]:
    """`enqueue_on` for asynchronous applications."""
    return _enqueued(await aput(connection, _rows(jobs, at, priority, on_duplicate)))


@cache
def default_client() -> Client:
    """The client of DATABASE_URL, which the functions of this module use."""
    return Client()


def enqueue(
    job: Job,
    *,
    connection: Any = None,
    at: datetime | None = None,
    priority: int = 0,
    on_duplicate: OnDuplicate = "skip",
) -> Enqueued:
    """`Client.enqueue` into the database of DATABASE_URL, or as part of `connection`'s transaction."""
    if connection is None:
        return default_client().enqueue(job, at=at, priority=priority, on_duplicate=on_duplicate)
    (enqueued,) = enqueue_on(connection, [job], at=at, priority=priority, on_duplicate=on_duplicate)
    return enqueued


def enqueue_many(
    jobs: Sequence[Job],
    *,
    connection: Any = None,
    at: datetime | None = None,
    priority: int = 0,
    on_duplicate: OnDuplicate = "skip",
) -> list[Enqueued]:
    """`Client.enqueue_many` into the database of DATABASE_URL, or as part of `connection`'s transaction."""
    if connection is None:
        return default_client().enqueue_many(jobs, at=at, priority=priority, on_duplicate=on_duplicate)
    return enqueue_on(connection, jobs, at=at, priority=priority, on_duplicate=on_duplicate)


async def aenqueue(
    job: Job,
    *,
    connection: Any = None,
    at: datetime | None = None,
    priority: int = 0,
    on_duplicate: OnDuplicate = "skip",
) -> Enqueued:
    """`Client.aenqueue` into the database of DATABASE_URL, or as part of `connection`'s transaction."""
    (enqueued,) = await aenqueue_many(
        [job], connection=connection, at=at, priority=priority, on_duplicate=on_duplicate
    )
    return enqueued


async def aenqueue_many(
    jobs: Sequence[Job],
    *,
    connection: Any = None,
    at: datetime | None = None,
    priority: int = 0,
    on_duplicate: OnDuplicate = "skip",
) -> list[Enqueued]:
    """`Client.aenqueue_many` into the database of DATABASE_URL, or as part of `connection`'s transaction."""
    if connection is None:
        return await default_client().aenqueue_many(jobs, at=at, priority=priority, on_duplicate=on_duplicate)
    return await aenqueue_on(connection, jobs, at=at, priority=priority, on_duplicate=on_duplicate)


@contextmanager
def batch(
    *, then: Job | None = None, name: str | None = None, on: Condition = "end", connection: Any = None
) -> Iterator[Batch]:
    """`Client.batch` into the database of DATABASE_URL, or as part of `connection`'s transaction."""
    with _collecting(new_batch(then=then, name=name, on=on)) as batch:
        yield batch
    _put(batch, connection)


@asynccontextmanager
async def abatch(
    *, then: Job | None = None, name: str | None = None, on: Condition = "end", connection: Any = None
) -> AsyncIterator[Batch]:
    """`Client.abatch` into the database of DATABASE_URL, or as part of `connection`'s transaction."""
    with _collecting(new_batch(then=then, name=name, on=on)) as batch:
        yield batch
    await _aput(batch, connection)


def chain(
    first: Job,
    /,
    *others: Job,
    name: str | None = None,
    at: datetime | None = None,
    priority: int = 0,
    connection: Any = None,
) -> UUID:
    """`Client.chain` into the database of DATABASE_URL, or as part of `connection`'s transaction."""
    chain = new_chain([first, *others], name=name, at=at, priority=priority)
    _put(chain, connection)
    return chain.id


async def achain(
    first: Job,
    /,
    *others: Job,
    name: str | None = None,
    at: datetime | None = None,
    priority: int = 0,
    connection: Any = None,
) -> UUID:
    """`Client.achain` into the database of DATABASE_URL, or as part of `connection`'s transaction."""
    chain = new_chain([first, *others], name=name, at=at, priority=priority)
    await _aput(chain, connection)
    return chain.id


@contextmanager
def _collecting(batch: Batch) -> Iterator[Batch]:
    try:
        yield batch
    finally:
        batch.close()


def _put(one: Batch | Chain, connection: Any, client: Client | None = None) -> None:
    arguments = as_json(one)
    if connection is not None:
        put(connection, *arguments, call=PUT_BATCH)
        return
    with (client or default_client())._engine.begin() as own:
        put(own, *arguments, call=PUT_BATCH)


async def _aput(one: Batch | Chain, connection: Any, client: Client | None = None) -> None:
    if connection is None:
        await asyncio.to_thread(_put, one, None, client)
    else:
        await aput(connection, *as_json(one), call=PUT_BATCH)


def _rows(jobs: Sequence[Job], at: datetime | None, priority: int, on_duplicate: OnDuplicate) -> str:
    return for_function(
        [
            row(job, at=at, priority=priority, key=key, on_duplicate=on_duplicate)
            for job, key in zip(jobs, new_keys(len(jobs)), strict=True)
        ]
    )


def _enqueued(rows: list[tuple[Any, ...]]) -> list[Enqueued]:
    # Of equal unique jobs in one list the first is put in, and stands for the others.
    return [Enqueued(key, TaskState(state), duplicate) for _place, key, state, duplicate in rows]
