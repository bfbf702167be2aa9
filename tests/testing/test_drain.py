"""`drain` and `enqueued`, on a real database by the real claim and settlement."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from spoils import Client, Concurrency, Job, Queue, Rate, RetryLater
from spoils.errors import SettingError, SpoilsError
from spoils.testing import drain, enqueued
from tests.classes import throw_away_classes
from tests.locks import held
from tests.rows import Rows
from tests.sample_jobs import EFFECTS, EffectJob, RaisingJob, ResultJob, SampleJob, UniqueSampleJob

LATER = datetime.now(UTC) + timedelta(days=1)


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


def test_all_that_is_due_is_performed_and_settled_in_the_order_of_a_worker(
    client: Client, rows: Rows
) -> None:
    low = client.enqueue(ResultJob(value=7), priority=-1)
    high = client.enqueue(EffectJob(name="a"), priority=1)
    later = client.enqueue(SampleJob(), at=LATER)
    done = drain(client)
    assert [(one.job, one.outcome, one.result) for one in done] == [
        (EffectJob(name="a"), "finished", None),
        (ResultJob(value=7), "finished", 7),
    ]
    assert rows.effects("a") == 1
    assert client.get(low.id).result == 7  # type: ignore[union-attr]
    assert [rows.state(one.id) for one in (low, high, later)] == ["finished", "finished", "new"]
    assert drain(client) == []


def test_steps_are_done_once_and_shown_by_the_attempt_that_did_them(client: Client) -> None:
    class StepsJob(Job):
        def run(self, queue: Queue) -> None:
            queue.step("one", lambda: 1)
            if not queue.attempt:
                raise ValueError("after one")
            assert queue.step("one", lambda: 2) == 1
            queue.step("two", lambda: 2)

    client.enqueue(StepsJob())
    done = drain(client, scheduled=True)
    assert [(one.outcome, one.steps) for one in done] == [("retried", {"one": 1}), ("finished", {"two": 2})]


def test_jobs_that_jobs_enqueue_are_performed_too(client: Client, rows: Rows) -> None:
    class CountdownJob(Job):
        number: int

        def run(self, queue: Queue) -> None:
            if self.number:
                queue.enqueue(CountdownJob(number=self.number - 1))

    client.enqueue(CountdownJob(number=3))
    done = drain(client)
    assert [one.job for one in done] == [CountdownJob(number=number) for number in (3, 2, 1, 0)]
    assert done[0].enqueued == [CountdownJob(number=2)]
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'finished'") == 4


def test_retries_are_performed_as_soon_as_they_are_due_or_with_scheduled_at_once(
    client: Client, rows: Rows
) -> None:
    class FlakyJob(Job):
        delay: float
        max_retries = 3

        def run(self, queue: Queue) -> None:
            if queue.attempt < 2:
                raise RetryLater(self.delay)

    client.enqueue(FlakyJob(delay=0))
    assert [one.outcome for one in drain(client)] == ["retried", "retried", "finished"]
    client.enqueue(FlakyJob(delay=600))
    assert [one.outcome for one in drain(client)] == ["retried"]
    assert [one.outcome for one in drain(client, scheduled=True)] == ["retried", "finished"]
    failing = client.enqueue(RaisingJob())
    assert [one.outcome for one in drain(client, scheduled=True)] == [*["retried"] * 3, "failed"]
    assert rows.state(failing.id) == "failed"


def test_scheduled_jobs_are_performed_in_the_order_of_their_times(client: Client) -> None:
    for number in (3, 1, 2):
        client.enqueue(SampleJob(number=number), at=LATER + timedelta(hours=number))
    client.enqueue(SampleJob(number=0))
    assert [one.job for one in drain(client, scheduled=True)] == [SampleJob(number=n) for n in range(4)]


def test_each_kind_of_outcome_is_written_as_by_a_worker(client: Client, rows: Rows) -> None:
    jobs = {
        client.enqueue(RaisingJob(what="snooze")).id: "new",
        client.enqueue(RaisingJob(what="cancel")).id: "failed",
        client.enqueue(EffectJob(name="b", then="raise")).id: "retried",
        rows.task(metadata={"type": "SampleJob", "number": "5"}): "failed",
    }
    done = drain(client)
    assert [one.outcome for one in done] == ["snoozed", "cancelled", "retried", "failed"]
    assert done[-1].job is None
    assert (done[-1].error or "").startswith("The payload does not fit SampleJob: number:")
    assert {task_id: rows.state(task_id) for task_id in jobs} == jobs
    assert rows.effects("b") == 0
    assert rows.value("SELECT count(*) FROM spoils_attempts WHERE outcome <> 'finished'") == 4
    assert rows.value("SELECT count(*) FROM spoils_workers WHERE ended_at IS NULL") == 0


def test_a_job_that_enqueues_itself_without_end_is_stopped(client: Client) -> None:
    class EnqueuesItselfJob(Job):
        def run(self, queue: Queue) -> None:
            queue.enqueue(EnqueuesItselfJob())

    client.enqueue(EnqueuesItselfJob())
    with pytest.raises(SpoilsError, match="drain performed 5 attempts: does a job enqueue itself"):
        drain(client, limit=5)


def test_a_row_that_the_test_itself_has_locked_is_an_error_and_not_a_wait(client: Client, rows: Rows) -> None:
    class LockingJob(Job):
        def run(self, queue: Queue) -> None:
            locks.enter_context(held(client._engine)).execute(text("SELECT FROM fang_tasks FOR UPDATE"))

    client.enqueue(LockingJob())
    with ExitStack() as locks, pytest.raises(SpoilsError, match="another transaction has locked it"):
        drain(client)


def test_what_waits_is_listed_by_class_the_next_due_first(client: Client, rows: Rows) -> None:
    client.enqueue(SampleJob(number=2), at=LATER)
    client.enqueue(SampleJob(number=1))
    client.enqueue(UniqueSampleJob(number=1))
    rows.task(state="finished", metadata={"type": "SampleJob", "number": 9})
    rows.task(state="retried", due_in=60, metadata={"type": "SampleJob", "number": 3})
    assert enqueued(SampleJob, client=client) == [SampleJob(number=n) for n in (1, 3, 2)]
    assert enqueued(UniqueSampleJob, client=client) == [UniqueSampleJob(number=1)]
    assert enqueued(EffectJob, client=client) == []


def test_without_a_database_nothing_touches_that_of_development() -> None:
    for act in (drain, lambda: enqueued(SampleJob)):
        with pytest.raises(SettingError, match="There is no database: use the fixture spoils_database"):
            act()


def test_jobs_under_limits_are_performed_too_in_the_order_of_their_own_priorities(
    client: Client, rows: Rows
) -> None:
    class LimitedJob(Job):
        number: int
        limits = (Concurrency(1), Rate(1, per=3600))

        def run(self, queue: Queue) -> None: ...

    for number, priority in ((1, 0), (2, 1)):
        client.enqueue(LimitedJob(number=number), priority=priority)
    client.enqueue(SampleJob())
    client.enqueue(LimitedJob(number=3), at=LATER)
    rows.connection.execute(text("SELECT spoils_enqueue('LimitedJob', '{\"number\": 4}')"))
    done = [performed.job for performed in drain(client, scheduled=True)]
    assert [job.number for job in done if isinstance(job, LimitedJob)] == [2, 1, 4, 3]
