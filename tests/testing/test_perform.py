"""`perform`: one attempt of a job by the worker's own code, without a row, and without a database until one is used."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import create_engine, text

import spoils
from spoils import Client, Done, Job, PayloadError, Queue
from spoils.errors import SettingError
from spoils.testing import Performed, perform
from tests.classes import throw_away_classes
from tests.rows import Rows
from tests.sample_jobs import EFFECTS, EffectJob, RaisingJob, ResultJob, SampleJob
from tests.support import in_thread


@pytest.fixture(autouse=True)
def without_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with throw_away_classes():
        yield


@pytest.fixture
def client(database_url: str, rows: Rows) -> Iterator[Client]:
    rows.connection.execute(text(EFFECTS))
    made = Client(database_url)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (SampleJob(number=3), Performed(SampleJob(number=3), "finished")),
        (ResultJob(value=[1, None]), Performed(ResultJob(value=[1, None]), "finished", result=[1, None])),
        (
            RaisingJob(what="snooze"),
            Performed(RaisingJob(what="snooze"), "snoozed", delay_seconds=90),
        ),
        (
            RaisingJob(what="cancel"),
            Performed(RaisingJob(what="cancel"), "cancelled", error="there is no such thing"),
        ),
    ],
)
def test_it_returns_the_outcome_the_result_and_the_reason(job: Job, expected: Performed) -> None:
    assert perform(job) == expected


def test_a_failure_comes_with_its_exception_and_the_delay_of_its_retry() -> None:
    done = perform(RaisingJob())
    assert (done.outcome, done.error) == ("retried", "ValueError: boom ValueError")
    assert isinstance(done.exception, ValueError)
    assert 60 <= done.delay_seconds <= 66
    assert 120 <= perform(RaisingJob(), attempt=1).delay_seconds <= 132
    last = perform(RaisingJob(), attempt=3)
    assert (last.outcome, last.delay_seconds) == ("failed", 0)
    later = perform(RaisingJob(what="later"))
    assert (later.outcome, later.error) == ("retried", "RetryLater: upstream is busy")
    assert 1234 <= later.delay_seconds <= 1358


def test_a_result_that_is_too_large_fails_as_in_a_worker() -> None:
    done = perform(ResultJob(value="x" * 70_000))
    assert done.outcome == "retried"
    assert done.error is not None
    assert "The result of ResultJob is larger than 64 KiB" in done.error


class NotingJob(Job):
    priority_of_it: int = 0
    fails: bool = False

    def run(self, queue: Queue) -> None:
        queue.enqueue(SampleJob(number=1), at=datetime(2030, 1, 1, tzinfo=UTC), priority=self.priority_of_it)
        queue.enqueue(SampleJob(number=2))
        if self.fails:
            raise ValueError("after enqueueing")


def test_what_a_finished_job_enqueued_is_returned_with_its_options() -> None:
    done = perform(NotingJob(priority_of_it=1))
    assert done.outcome == "finished"
    assert done.enqueued == [SampleJob(number=1), SampleJob(number=2)]
    first = done.enqueue_calls[0]
    assert (first.at, first.priority) == (datetime(2030, 1, 1, tzinfo=UTC), 1)
    assert perform(NotingJob(fails=True)).enqueued == []


def test_a_job_that_enqueues_what_cannot_be_enqueued_fails() -> None:
    done = perform(NotingJob(priority_of_it=9))
    assert (done.outcome, done.error) == ("retried", "PayloadError: priority is a whole number from -2 to 2.")


def test_the_session_is_committed_when_the_job_finishes_and_rolled_back_when_not(
    client: Client, rows: Rows
) -> None:
    assert perform(EffectJob(name="a"), client=client).outcome == "finished"
    assert rows.effects("a") == 1
    for then in ("raise", "commit and raise", "snooze", "abort"):
        assert perform(EffectJob(name="b", then=then), client=client).outcome != "finished"
    assert rows.effects("b") == 0
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


def test_the_database_is_that_of_database_url(
    client: Client, database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert perform(EffectJob(name="a", then="enqueue")).enqueued == [SampleJob(number=7)]
    assert (rows.effects("a"), rows.value("SELECT count(*) FROM fang_tasks")) == (1, 0)


def test_a_session_without_a_database_fails_the_job_and_says_what_to_do() -> None:
    done = perform(EffectJob(name="a"))
    assert isinstance(done.exception, SettingError)
    assert done.error is not None
    assert "queue.session needs a database: use the fixture spoils_database" in done.error


def test_a_commit_that_fails_is_a_failure(client: Client, rows: Rows) -> None:
    rows.connection.execute(
        text("ALTER TABLE effects ADD CONSTRAINT once UNIQUE (name) DEFERRABLE INITIALLY DEFERRED")
    )
    assert perform(EffectJob(name="a"), client=client).outcome == "finished"
    done = perform(EffectJob(name="a"), client=client)
    assert done.outcome == "retried"
    assert done.error is not None
    assert done.error.startswith("IntegrityError: ")


def test_an_error_of_another_database_releases_the_job_as_in_a_worker() -> None:
    class AwayJob(Job):
        def run(self, queue: Queue) -> None:
            create_engine("postgresql+psycopg2://127.0.0.1:1/x").connect()

    assert perform(AwayJob()).outcome == "released"


def test_the_job_sees_its_attempt_and_its_log_and_is_not_asked_to_stop() -> None:
    class LookingJob(Job):
        def run(self, queue: Queue) -> Done:
            queue.checkpoint()
            queue.log.info("Hello")
            return Done([queue.attempt, queue.cancelled, queue.stopping, str(queue.task_id)])

    result = perform(LookingJob(), attempt=2).result
    assert result[:3] == [2, False, False]
    assert result[3] != perform(LookingJob()).result[3]


def test_the_payload_goes_through_its_json_form() -> None:
    class OddJob(Job):
        moment: datetime
        anything: Any = None

        def run(self, queue: Queue) -> Done:
            return Done(self.moment.isoformat())

    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert perform(OddJob(moment=moment)).result == moment.isoformat()
    with pytest.raises(PayloadError, match="would not come back from its row as it was enqueued: anything"):
        perform(OddJob(moment=moment, anything=(1, 2)))


def test_functions_around_the_job_are_called() -> None:
    @spoils.around
    def double(job: Job, queue: Queue, call: Callable[[], Any]) -> Any:
        return Done([call().result] * 2)

    assert perform(ResultJob(value=4)).result == [4, 4]


@pytest.mark.parametrize(
    "call", [lambda test: test(), lambda test: in_thread(lambda: asyncio.run(_in_loop(test)))]
)
def test_an_async_job_is_awaited_also_where_a_loop_runs_already(
    call: Callable[[Callable[[], None]], None],
) -> None:
    class AsyncJob(Job):
        async def run(self, queue: Queue) -> Done:
            await asyncio.sleep(0)
            queue.enqueue(SampleJob())
            return Done(threading.current_thread() is threading.main_thread())

    def test() -> None:
        done = perform(AsyncJob())
        assert (done.outcome, done.result, done.enqueued) == ("finished", False, [SampleJob()])

    call(test)


async def _in_loop(test: Callable[[], None]) -> None:
    test()


def test_nothing_is_left_behind(client: Client) -> None:
    perform(EffectJob(name="a"), client=client)
    with client._engine.begin() as connection:
        others = "datname = current_database() AND application_name LIKE 'spoils:%-%'"
        assert connection.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {others}")) == 0


def test_the_progress_and_the_log_lines_are_returned() -> None:
    class CountingJob(Job):
        def run(self, queue: Queue) -> None:
            queue.progress(3, of=10, note="page 3")
            queue.log("token=hunter2")

    done = perform(CountingJob())
    assert done.progress == (3, 10, "page 3")
    assert len(done.log) == 1
    assert "hunter2" not in done.log[0]
    assert perform(SampleJob()).progress is None
