"""Batches and chains of jobs that run: what a job enqueues, adds and finds; by `drain` and `perform`."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from spoils import BatchResult, Cancel, Client, Done, Job, Outcome, Queue
from spoils.errors import PayloadError
from spoils.job.batch import BatchClosed
from spoils.testing import Performed, drain, enqueued, perform
from tests.classes import throw_away_classes
from tests.rows import Rows
from tests.sample_jobs import EFFECTS, ResultJob, SampleJob


@pytest.fixture(autouse=True)
def classes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with throw_away_classes():
        yield


@pytest.fixture
def client(database_url: str, rows: Rows) -> Iterator[Client]:
    rows.connection.execute(text(EFFECTS))
    made = Client(database_url)
    yield made
    made.close()


def report() -> type[Job]:
    class ReportJob(Job):
        def run(self, queue: Queue) -> Outcome:
            found = queue.batch_result
            assert found is not None
            assert isinstance(found.id, UUID)
            return Done([found.name, found.total, found.finished, found.failed, found.cancelled])

    return ReportJob


def enqueue_and_raise(client: Client) -> None:
    with client.batch() as batch:
        batch.enqueue(SampleJob())
        raise LookupError


def results(done: list[Performed], job_class: type[Job]) -> list[Any]:
    return [one.result for one in done if isinstance(one.job, job_class)]


@pytest.mark.parametrize("transactional", [False, True], ids=["no session", "in its session"])
def test_a_job_enqueues_a_batch_with_its_completion_and_members_add_members(
    client: Client, transactional: bool
) -> None:
    report_class = report()

    class PageJob(Job):
        number: int

        def run(self, queue: Queue) -> Outcome | None:
            if transactional:
                queue.session.execute(text("SELECT 1"))
            if self.number == 3:
                return Cancel("enough")
            assert queue.batch_result is None
            queue.add_to_batch(PageJob(number=self.number + 1))
            return None

    class ImportJob(Job):
        def run(self, queue: Queue) -> None:
            with queue.batch(then=report_class(), name="night import") as batch:
                batch.enqueue(PageJob(number=2))
                batch.enqueue(SampleJob(), priority=1)

    client.enqueue(ImportJob())
    done = drain(client)
    assert results(done, report_class) == [["night import", 3, 2, 0, 1]]
    assert [type(one.job) for one in done][-1] is report_class
    (importing,) = [one for one in done if isinstance(one.job, ImportJob)]
    ((jobs, then, name, on),) = importing.batches
    assert (jobs, then, name, on) == (
        [PageJob(number=2), SampleJob()],
        report_class(),
        "night import",
        "end",
    )
    (first, _) = [one for one in done if isinstance(one.job, PageJob)]
    assert [one.job for one in first.added_to_batch] == [PageJob(number=3)]


def test_async_jobs_do_the_same(client: Client) -> None:
    report_class = report()

    class AsyncPageJob(Job):
        number: int

        async def run(self, queue: Queue) -> Done:
            if self.number:
                queue.add_to_batch(AsyncPageJob(number=self.number - 1))
            return Done(self.number)

    class AsyncImportJob(Job):
        async def run(self, queue: Queue) -> None:
            with queue.batch(then=report_class(), on="success") as batch:
                batch.enqueue(AsyncPageJob(number=1))
            queue.chain(ResultJob(value=7), AsyncLastJob())

    class AsyncLastJob(Job):
        async def run(self, queue: Queue) -> Done:
            return Done(queue.previous)

    client.enqueue(AsyncImportJob())
    done = drain(client)
    assert results(done, report_class) == [[None, 2, 2, 0, 0]]
    assert results(done, AsyncLastJob) == [7]


def test_a_chain_hands_each_result_to_the_next_job(client: Client) -> None:
    class NextJob(Job):
        def run(self, queue: Queue) -> Done:
            return Done([queue.previous])

    class StartJob(Job):
        def run(self, queue: Queue) -> None:
            queue.chain(NextJob(), NextJob(), ResultJob(value=5), name="in order", priority=1)

    client.enqueue(StartJob())
    done = drain(client)
    assert results(done, NextJob) == [[None], [[None]]]
    assert done[0].chains == ([NextJob(), NextJob(), ResultJob(value=5)],)
    chain_id = client.chain(ResultJob(value={"rows": 2}), NextJob())
    assert results(drain(client), NextJob) == [[{"rows": 2}]]
    status = client.get_batch(chain_id)
    assert status is not None
    assert (status.ended, status.total, status.finished) == (True, 2, 2)


def test_a_job_that_fails_enqueues_no_batch(client: Client, rows: Rows) -> None:
    class BrokenJob(Job):
        max_retries = 0

        def run(self, queue: Queue) -> None:
            with queue.batch(then=SampleJob()) as batch:
                batch.enqueue(SampleJob())
            queue.chain(SampleJob(), SampleJob())
            raise ValueError("boom")

    client.enqueue(BrokenJob())
    (done,) = drain(client)
    assert (done.outcome, done.batches, done.chains) == ("failed", (), ())
    assert rows.value("SELECT count(*) FROM spoils_batches") == 0
    assert enqueued(SampleJob, client=client) == []


def test_what_is_raised_in_the_block_leaves_the_batch_out(client: Client, rows: Rows) -> None:
    class HandledJob(Job):
        def run(self, queue: Queue) -> None:
            try:
                with queue.batch() as batch:
                    batch.enqueue(SampleJob())
                    raise LookupError
            except LookupError:
                pass

    client.enqueue(HandledJob())
    assert [one.outcome for one in drain(client)] == ["finished"]
    with pytest.raises(LookupError):
        enqueue_and_raise(client)
    assert rows.value("SELECT count(*) FROM spoils_batches") == 0


def test_a_member_that_cannot_be_stored_fails_the_job_and_refuses_the_batch(
    client: Client, rows: Rows
) -> None:
    class BadMemberJob(Job):
        max_retries = 0

        def run(self, queue: Queue) -> None:
            with queue.batch() as batch:
                batch.enqueue(SampleJob(), priority=9)

    client.enqueue(BadMemberJob())
    (done,) = drain(client)
    assert (done.outcome, done.error) == ("failed", "PayloadError: priority is a whole number from -2 to 2.")
    with pytest.raises(PayloadError, match="priority"):
        client.chain(SampleJob(), SampleJob(), priority=9)
    assert rows.value("SELECT count(*) FROM spoils_batches") == 0
    assert perform(BadMemberJob()).error == done.error


def test_a_batch_that_was_enqueued_takes_no_more(client: Client) -> None:
    with client.batch() as batch:
        batch.enqueue(SampleJob())
    with pytest.raises(BatchClosed, match=r"queue\.add_to_batch"):
        batch.enqueue(SampleJob())


def test_only_a_member_adds_to_its_batch(client: Client) -> None:
    class OutsiderJob(Job):
        max_retries = 0

        def run(self, queue: Queue) -> None:
            queue.add_to_batch(SampleJob())

    client.enqueue(OutsiderJob())
    (done,) = drain(client)
    assert done.error is not None
    assert done.error.startswith("NoBatch: queue.add_to_batch is for a member of a batch")
    assert [one.job for one in perform(OutsiderJob()).added_to_batch] == [SampleJob()]


def test_perform_gives_a_job_what_came_before_it() -> None:
    class LastJob(Job):
        def run(self, queue: Queue) -> Done:
            return Done([queue.previous, queue.batch_result and queue.batch_result.failed])

    assert perform(LastJob()).result == [None, None]
    assert perform(LastJob(), previous={"rows": 7}).result == [{"rows": 7}, None]
    result = BatchResult(uuid4(), "night import", total=3, finished=1, failed=2, cancelled=0)
    assert perform(LastJob(), batch_result=result).result == [None, 2]
