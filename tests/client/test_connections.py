"""Enqueueing on the caller's own connection, of every kind: the job is there if that transaction commits, else not."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from spoils.client import Client
from tests.client.kinds import KINDS, Enqueue
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import in_thread

every_kind = pytest.mark.parametrize("enqueue", KINDS.values(), ids=KINDS)


@every_kind
def test_a_job_is_enqueued_by_the_commit_of_the_caller(
    enqueue: Enqueue, database_url: str, rows: Rows
) -> None:
    first, second = enqueue(database_url, [SampleJob(number=1), SampleJob(number=2)], True)
    assert rows.all("SELECT id, metadata ->> 'number' AS number FROM fang_tasks ORDER BY id") == [
        (first.id, "1"),
        (second.id, "2"),
    ]
    assert (first.state.value, first.duplicate) == ("new", False)


@every_kind
def test_a_rollback_of_the_caller_takes_the_job_away(enqueue: Enqueue, database_url: str, rows: Rows) -> None:
    enqueue(database_url, [SampleJob(), UniqueSampleJob()], False)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    assert rows.value("SELECT coalesce(sum(delta), 0) FROM spoils_counts") == 0


@every_kind
def test_a_unique_job_that_waits_is_returned_as_the_duplicate(
    enqueue: Enqueue, database_url: str, rows: Rows
) -> None:
    (first,) = enqueue(database_url, [UniqueSampleJob(number=7)], True)
    again, other, twice = enqueue(
        database_url, [UniqueSampleJob(number=7), UniqueSampleJob(number=8), UniqueSampleJob(number=8)], True
    )
    assert (again.id, again.duplicate) == (first.id, True)
    assert (other.duplicate, twice.id, twice.duplicate) == (False, other.id, True)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 2


def test_the_hash_is_that_of_every_other_way_to_enqueue(
    client: Client, database_url: str, rows: Rows
) -> None:
    alone = client.enqueue(UniqueSampleJob(number=3))
    (joined,) = KINDS["psycopg2"](database_url, [UniqueSampleJob(number=3)], True)
    assert (joined.id, joined.duplicate) == (alone.id, True)


def test_the_moment_and_the_priority_are_kept(client: Client, database_url: str, rows: Rows) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    connection = psycopg2.connect(database_url)
    client.enqueue(SampleJob(), connection=connection, at=at, priority=2)
    connection.commit()
    connection.close()
    assert rows.all("SELECT scheduled_at, priority, task_type FROM fang_tasks") == [(at, 2, "sample")]


def test_the_connection_is_left_as_it_was(client: Client, database_url: str) -> None:
    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    client.enqueue(SampleJob(), connection=connection)
    assert connection.autocommit
    assert connection.info.transaction_status == TRANSACTION_STATUS_IDLE
    connection.close()


@pytest.mark.parametrize("given", [object(), "postgres://localhost", 7])
def test_what_is_no_connection_is_refused_with_what_is_one(client: Client, given: object) -> None:
    with pytest.raises(
        TypeError, match=r"takes an SQLAlchemy Session.*Django's connection; this is (object|str|int)\."
    ):
        client.enqueue(SampleJob(), connection=given)
    with pytest.raises(
        TypeError, match=r"takes an SQLAlchemy AsyncSession.*asyncpg connection here; this is"
    ):
        in_thread(lambda: asyncio.run(client.aenqueue(SampleJob(), connection=given)))
