"""The client with transactions of its own: enqueue, get and wait."""

import asyncio
import os
import threading
from uuid import uuid4

import pytest
from sqlalchemy import text

import spoils
from spoils.client import Client
from spoils.client import client as client_module
from spoils.errors import PayloadError
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import in_thread


def test_a_job_is_enqueued_and_its_status_read(client: Client) -> None:
    enqueued = client.enqueue(SampleJob(number=5), priority=1)
    status = client.get(enqueued.id)
    assert status is not None
    assert (status.id, status.job, status.payload) == (enqueued.id, "SampleJob", {"number": 5})
    assert (status.state, status.ended, status.priority, status.error) == ("new", False, 1, None)
    assert client.get(uuid4()) is None


def test_many_are_enqueued_in_their_order(client: Client, rows: Rows) -> None:
    done = client.enqueue_many([SampleJob(number=1), UniqueSampleJob(number=1), UniqueSampleJob(number=1)])
    assert [one.duplicate for one in done] == [False, False, True]
    assert rows.value("SELECT count(*) FROM fang_tasks") == 2


def test_wait_returns_when_the_job_has_ended(client: Client, rows: Rows) -> None:
    job = client.enqueue(SampleJob())
    waited: list[str] = []
    waiting = threading.Thread(target=lambda: waited.append(client.wait(job.id, timeout=30).state))
    waiting.start()
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'finished' WHERE id = :id"), {"id": job.id})
    waiting.join(30)
    assert waited == ["finished"]


def test_the_status_of_a_finished_job_has_its_result(client: Client, rows: Rows) -> None:
    job = client.enqueue(SampleJob())
    assert client.get(job.id).result is None  # type: ignore[union-attr]
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'finished', result = '[1, {\"a\": null}]'"))
    assert client.wait(job.id, timeout=5).result == [1, {"a": None}]


def test_wait_says_what_it_waited_for_in_vain(client: Client) -> None:
    job = client.enqueue(SampleJob())
    with pytest.raises(TimeoutError, match=f"Job {job.id} is still new after 0.05 s."):
        client.wait(job.id, timeout=0.05)
    with pytest.raises(LookupError, match="There is no job"):
        client.wait(uuid4(), timeout=1)


def test_an_asynchronous_application_needs_no_connection(client: Client, rows: Rows) -> None:
    async def both() -> None:
        first = await client.aenqueue(SampleJob(number=1))
        await client.aenqueue_many([SampleJob(number=2)])
        status = await client.aget(first.id)
        assert status is not None
        assert status.payload == {"number": 1}
        with pytest.raises(TimeoutError):
            await client.await_end(first.id, timeout=0.01)

    in_thread(lambda: asyncio.run(both()))
    assert rows.value("SELECT count(*) FROM fang_tasks") == 2


@pytest.mark.parametrize(
    ("options", "sentence"), [({"priority": 3}, "priority is a whole number from -2 to 2.")]
)
def test_a_wrong_option_is_refused_with_nothing_enqueued(
    client: Client, rows: Rows, options: dict[str, int], sentence: str
) -> None:
    with pytest.raises(PayloadError, match=sentence):
        client.enqueue_many([SampleJob()], **options)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


def test_the_functions_of_the_package_use_database_url(
    database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "default_client", lambda: Client(database_url))
    assert spoils.enqueue(SampleJob(number=1)).duplicate is False
    assert len(spoils.enqueue_many([SampleJob(number=2)])) == 1
    in_thread(lambda: asyncio.run(spoils.aenqueue(SampleJob(number=3))))
    assert rows.value("SELECT count(*) FROM fang_tasks") == 3


def test_a_forked_process_opens_connections_of_its_own(client: Client, rows: Rows) -> None:
    client.enqueue(SampleJob(number=1))
    child = os.fork()
    if child == 0:
        try:
            client.enqueue(SampleJob(number=2))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    client.enqueue(SampleJob(number=3))
    assert rows.value("SELECT count(*) FROM fang_tasks") == 3
