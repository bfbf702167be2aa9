"""Batches and chains of an application: in its own transaction, on each kind of connection, or in a short one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import spoils
from spoils.client import Client
from spoils.client.client import default_client
from tests.client.kinds import (
    END,
    django_connection,
    plain_psycopg,
    plain_psycopg2,
    sqlalchemy_session,
    use_asyncpg,
    use_connection,
    use_psycopg,
    use_session,
)
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import in_thread


def enqueued(rows: Rows) -> list[tuple[Any, ...]]:
    return rows.all(
        "SELECT coalesce(name, 'chain'), total, active, then_task ->> 'task_type', jsonb_array_length(links) "
        "FROM spoils_batches ORDER BY total DESC"
    )


BOTH = [("night import", 2, 2, "sample", None), ("chain", 1, 1, None, 1)]


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("opens", [sqlalchemy_session, plain_psycopg2, plain_psycopg, django_connection])
def test_a_batch_and_a_chain_are_enqueued_by_the_commit_of_the_caller(
    database_url: str, rows: Rows, opens: Callable[[str], Any], commits: bool
) -> None:
    def enqueue() -> None:
        with opens(database_url) as connection:
            with spoils.batch(then=SampleJob(), name="night import", connection=connection) as batch:
                batch.enqueue(SampleJob(number=1))
                batch.enqueue(UniqueSampleJob(number=2))
            spoils.chain(SampleJob(number=3), SampleJob(number=4), connection=connection)
            assert enqueued(rows) == []
            getattr(connection, END[commits])()

    in_thread(enqueue)
    assert enqueued(rows) == (BOTH if commits else [])
    assert rows.value("SELECT count(*) FROM fang_tasks") == (3 if commits else 0)


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("use", [use_session, use_connection, use_psycopg, use_asyncpg])
def test_an_asynchronous_application_does_the_same(
    database_url: str, rows: Rows, use: Callable[..., Any], commits: bool
) -> None:
    async def enqueue(connection: Any) -> None:
        async with spoils.abatch(then=SampleJob(), name="night import", connection=connection) as batch:
            batch.enqueue(SampleJob(number=1))
            batch.enqueue(UniqueSampleJob(number=2))
        await spoils.achain(SampleJob(number=3), SampleJob(number=4), connection=connection)

    in_thread(lambda: asyncio.run(use(database_url, enqueue, commits)))
    assert enqueued(rows) == (BOTH if commits else [])


def test_without_a_connection_each_is_a_transaction_of_its_own(
    client: Client, database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    default_client.cache_clear()

    async def asynchronously() -> None:
        async with client.abatch(name="a") as batch:
            batch.enqueue(SampleJob())
        async with spoils.abatch(name="b"):
            pass
        await client.achain(SampleJob())
        await spoils.achain(SampleJob())

    with client.batch(name="c") as batch, spoils.batch(name="d"):
        batch.enqueue(SampleJob())
    client.chain(SampleJob())
    spoils.chain(SampleJob())
    in_thread(lambda: asyncio.run(asynchronously()))
    default_client().close()
    default_client.cache_clear()
    assert rows.all("SELECT name, total FROM spoils_batches WHERE name IS NOT NULL ORDER BY name") == [
        ("a", 1),
        ("b", 0),
        ("c", 1),
        ("d", 0),
    ]
    assert rows.value("SELECT count(*) FROM spoils_batches WHERE links IS NOT NULL AND total = 1") == 4


def test_the_status_of_a_batch_is_read_by_its_id(client: Client, rows: Rows) -> None:
    with client.batch(name="night import") as batch:
        batch.enqueue(SampleJob())
    status = client.get_batch(batch.id)
    assert status is not None
    assert (status.id, status.name, status.total, status.active, status.ended) == (
        batch.id,
        "night import",
        1,
        1,
        False,
    )
    assert client.get_batch(rows.worker()) is None
