"""A queue in several databases, as docs/scaling.md describes: the application chooses one by a key."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from zlib import crc32

import pytest

from spoils.client import Client
from spoils.job.discovery import load as load_jobs
from spoils.models import db
from spoils.testing import drain
from spoils.web import create_app
from tests.databases import a_database
from tests.sample_jobs import UniqueSampleJob


@pytest.fixture
def shards(database_url: str, postgres_url: str, template: str) -> Iterator[list[Client]]:
    with ExitStack() as stack:
        other = stack.enter_context(contextmanager(a_database)(postgres_url, f"TEMPLATE {template}"))
        clients = [Client(url) for url in (database_url, other)]
        for client in clients:
            stack.callback(client.close)
        yield clients


def test_jobs_of_two_queues_in_one_process_stay_in_the_queue_of_their_key(shards: list[Client]) -> None:
    load_jobs()

    def shard(number: int) -> Client:
        return shards[crc32(str(number).encode()) % len(shards)]

    numbers = range(20)
    jobs = {number: shard(number).enqueue(UniqueSampleJob(number=number)).id for number in numbers}
    # Equal jobs have one key, and so one queue.
    again = [shard(number).enqueue(UniqueSampleJob(number=number)) for number in numbers]
    assert [(one.id, one.duplicate) for one in again] == [(jobs[number], True) for number in numbers]

    performed = [drain(client) for client in shards]
    assert all(performed)
    assert sum(map(len, performed)) == 20
    for number, job_id in jobs.items():
        assert shard(number).wait(job_id, timeout=1).state == "finished"
        assert [client.get(job_id) is None for client in shards].count(True) == 1

    apps = [create_app({}, database_url=client._url) for client in shards]
    counts = [app.test_client().get("/api/jobs/status").json["counts"]["finished"] for app in apps]
    assert counts == list(map(len, performed))
    for app in apps:
        with app.app_context():
            db.engine.dispose()
