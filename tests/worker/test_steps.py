"""Steps and expiry as jobs meet them in a worker, async jobs too."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.config import Settings
from spoils.job import Done, Job, Outcome, Queue
from spoils.job.outcome import Ending, TimedOut
from spoils.job.registry import registry
from spoils.models import db
from spoils.queue.claim import Claim
from spoils.queue.enqueue import enqueue
from spoils.queue.settle import settle
from spoils.queue.settlement import Settlement
from spoils.worker.maintenance import Maintenance
from spoils.worker.performer import Performer
from spoils.worker.worker_application import create_worker_app
from tests.queue.hands import take
from tests.rows import Rows
from tests.sample_jobs import DebouncedSampleJob, SampleJob
from tests.support import eventually, in_thread


class Hands:
    """A worker's hands: each attempt is claimed, performed and settled."""

    def __init__(
        self, settings: Settings, database_url: str, connection: Connection, worker_id: UUID
    ) -> None:
        self.connection = connection
        self.worker_id = worker_id
        self.settlements: list[Settlement] = []
        app = create_worker_app(settings, database_url=database_url, worker_id=worker_id)
        with app.app_context():
            self.engine: Engine = db.engine
        self.performer = Performer(
            app=app,
            engine=self.engine,
            registry=registry,
            worker_id=worker_id,
            stopping=threading.Event(),
            hand_over=self.settlements.append,
            drop=lambda _token: None,
        )

    def take(self, job: type[Job]) -> Claim:
        (claim,) = take(self.connection, self.worker_id, task_types=[job.task_type], kinds=[job.__name__])
        return claim

    def perform(self, job: type[Job], *, asynchronous: bool = False) -> Settlement:
        """Claim a job of the class, and perform it up to its settlement."""
        claim = self.take(job)
        self.perform_claim(claim, asynchronous=asynchronous)
        return self.settled()

    def perform_claim(self, claim: Claim, *, asynchronous: bool = False) -> None:
        if asynchronous:
            in_thread(lambda: asyncio.run(self.performer.perform_async(claim)))
        else:
            with self.performer.at_work():
                self.performer.perform(claim)

    def settled(self) -> Settlement:
        (settlement,) = self.settlements
        settle(self.connection, self.settlements, worker_id=self.worker_id, release="v1")
        self.settlements.clear()
        return settlement


@pytest.fixture
def hands(settings: Settings, database_url: str, connection: Connection, rows: Rows) -> Iterator[Hands]:
    hands = Hands(settings, database_url, connection, rows.worker())
    yield hands
    assert hands.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    hands.engine.dispose()


def sentence_of(settlement: Settlement) -> str:
    report = settlement.verdict.report
    assert report is not None
    return report.message


def make(run: Callable[[Queue], Outcome | None], *, asynchronous: bool) -> type[Job]:
    """A job class whose `run` is this function, with `await` before each step in the async one."""
    if asynchronous:

        class AsyncStepJob(Job):
            def backoff(self, attempt: int) -> float:
                return 0

            async def run(self, queue: Queue) -> Outcome | None:
                return await run(queue)  # type: ignore[misc]

        return AsyncStepJob

    class StepJob(Job):
        def backoff(self, attempt: int) -> float:
            return 0

        def run(self, queue: Queue) -> Outcome | None:
            return run(queue)

    return StepJob


def test_a_step_is_run_once_and_its_result_given_back_to_the_next_attempt(
    hands: Hands, connection: Connection, rows: Rows
) -> None:
    calls: list[str] = []

    def run(queue: Queue) -> Outcome:
        found = queue.step("download", lambda: calls.append("download") or {"rows": (1, 2)})
        assert found == {"rows": [1, 2]}, "as JSON has it, in the first attempt too"
        if queue.attempt == 0:
            assert rows.all("SELECT name, attempt FROM spoils_steps") == [("download", 1)], (
                "committed at once"
            )
            raise ValueError("after the step")
        assert queue.step("other", lambda: calls.append("other")) is None
        assert queue.step("other", lambda: calls.append("again")) is None
        return Done(found)

    job = make(run, asynchronous=False)
    enqueue(connection, job())
    assert hands.perform(job).verdict.ending is Ending.RETRIED
    assert hands.perform(job).verdict.ending is Ending.FINISHED
    assert calls == ["download", "other"]
    assert rows.all("SELECT name, attempt, result FROM spoils_steps ORDER BY done_at") == [
        ("download", 1, {"rows": [1, 2]}),
        ("other", 2, None),
    ]


def test_an_async_job_awaits_steps_of_both_kinds(hands: Hands, connection: Connection, rows: Rows) -> None:
    calls: list[str] = []

    async def fetch() -> list[int]:
        await asyncio.sleep(0)
        calls.append("fetch")
        return [1]

    async def run(queue: Queue) -> Outcome:
        found = await queue.step("fetch", fetch)
        plain = await queue.step("plain", lambda: calls.append("plain") or 2)
        if queue.attempt == 0:
            raise ValueError("after the steps")
        return Done([found, plain])

    job = make(run, asynchronous=True)  # type: ignore[arg-type]
    enqueue(connection, job())
    assert hands.perform(job, asynchronous=True).verdict.ending is Ending.RETRIED
    last = hands.perform(job, asynchronous=True)
    assert (last.verdict.ending, last.verdict.result) == (Ending.FINISHED, "[[1],2]")
    assert calls == ["fetch", "plain"]


async def _coroutine() -> None: ...


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("big", lambda: "x" * 70_000, 'The result of step "big" of StepJob is larger than 64 KiB: keep it'),
        (
            "set",
            lambda: {1},
            'Step "set" of StepJob returned what cannot be kept: The result has no JSON form',
        ),
        ("nan", lambda: float("nan"), 'Step "nan" of StepJob returned what cannot be kept: The result holds'),
        ("wait", _coroutine, 'Step "wait" of StepJob is asynchronous, and only an `async def run` can await'),
        ("", lambda: 1, "The name of a step of StepJob must be 1 to 200 printable characters."),
        (7, lambda: 1, "The name of a step of StepJob must be"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_a_sentence(
    *, hands: Hands, connection: Connection, rows: Rows, name: Any, value: Callable[[], Any], sentence: str
) -> None:
    job = make(lambda queue: queue.step(name, value), asynchronous=False)
    enqueue(connection, job())
    assert sentence_of(hands.perform(job)).startswith(sentence)
    assert rows.all("SELECT name FROM spoils_steps") == []


def test_steps_need_none_of_the_session_s_connections(
    hands: Hands, engine: Engine, connection: Connection, rows: Rows
) -> None:
    """Jobs that hold all of them could otherwise wait for each other's steps."""

    def run(queue: Queue) -> None:
        queue.session.execute(text("SELECT 1"))
        queue.step("one", lambda: hands.engine.pool.checkedout())  # type: ignore[attr-defined]

    job = make(run, asynchronous=False)
    enqueue(connection, job())
    hands.performer._step_log._engine = engine  # type: ignore[union-attr]
    claim = hands.take(job)
    hands.perform_claim(claim)
    assert hands.settlements == [], "it finished in its session"
    assert rows.all("SELECT result FROM spoils_steps") == [(1,)]


def test_a_step_of_a_task_that_was_rescued_meanwhile_ends_the_attempt(
    hands: Hands, connection: Connection, rows: Rows
) -> None:
    def run(queue: Queue) -> None:
        connection.execute(text("UPDATE fang_tasks SET claimed_by = gen_random_uuid()"))
        queue.step("late", lambda: 1)

    job = make(run, asynchronous=False)
    enqueue(connection, job())
    assert "now belongs to another attempt" in sentence_of(hands.perform(job))
    assert rows.all("SELECT name FROM spoils_steps") == []


def test_a_job_is_interrupted_within_a_step(hands: Hands, connection: Connection) -> None:
    """Its function is the job's own code, unlike the queue's around it."""
    started, ended = threading.Event(), threading.Event()

    def endless() -> None:
        started.set()
        while not ended.is_set():
            pass

    job = make(lambda queue: queue.step("endless", endless), asynchronous=False)
    enqueue(connection, job())
    claim = hands.take(job)
    thread = threading.Thread(target=hands.perform_claim, args=(claim,))
    thread.start()
    try:
        assert started.wait(30)
        (attempt,) = hands.performer.running()
        attempt.interrupt(TimedOut)
        eventually(lambda: attempt.interrupt_code(TimedOut, anywhere=False))
        thread.join(30)
        assert not thread.is_alive()
    finally:
        ended.set()
        thread.join(30)
    assert hands.settled().verdict.ending is Ending.TIMED_OUT


def test_a_job_replaces_the_payload_of_one_that_waits(
    hands: Hands, connection: Connection, rows: Rows
) -> None:
    waiting = enqueue(connection, DebouncedSampleJob(turn=1))
    job = make(
        lambda queue: queue.enqueue(DebouncedSampleJob(turn=2), on_duplicate="replace"), asynchronous=False
    )
    enqueue(connection, job())
    hands.perform_claim(hands.take(job))
    assert hands.settlements == [], "it was finished in the transaction of what it enqueued"
    assert rows.one(waiting.id).metadata["turn"] == 2


def test_a_job_that_cannot_replace_fails(hands: Hands, connection: Connection) -> None:
    job = make(lambda queue: queue.enqueue(SampleJob(), on_duplicate="replace"), asynchronous=False)
    enqueue(connection, job())
    assert "needs a class that is unique while it waits" in sentence_of(hands.perform(job))


# Expiry.


class PromptJob(Job):
    """Expires after a minute."""

    expires = timedelta(minutes=1)

    def run(self, queue: Queue) -> None: ...


class AsyncPromptJob(Job):
    """Expires after a minute too."""

    expires = timedelta(minutes=1)

    async def run(self, queue: Queue) -> None: ...


SENTENCE = "PromptJob was not started within 1 minute after it was due."


@pytest.mark.parametrize("kind", [PromptJob, AsyncPromptJob])
@pytest.mark.parametrize(("late", "ending"), [(59, Ending.FINISHED), (61, Ending.FAILED)])
def test_a_job_that_is_claimed_after_its_expiry_fails_and_does_not_run(
    hands: Hands, rows: Rows, late: int, ending: Ending, kind: type[Job]
) -> None:
    rows.task(metadata=kind().to_wire(), task_type=kind.task_type, due_in=-late)
    settlement = hands.perform(kind, asynchronous=kind is AsyncPromptJob)
    assert settlement.verdict.ending is ending
    if ending is Ending.FAILED:
        row = rows.one(UUID(settlement.key))
        assert (row.state, row.error_message) == (
            "failed",
            f"Expired: {kind.__name__.removesuffix('PromptJob')}{SENTENCE}",
        )
        assert rows.value("SELECT outcome FROM spoils_minutes") == "failed"


def test_a_job_that_was_started_in_time_does_not_expire(
    hands: Hands, connection: Connection, rows: Rows
) -> None:
    started = rows.task(
        metadata=PromptJob().to_wire(), task_type=PromptJob.task_type, due_in=-600, attempts=1
    )
    connection.execute(
        text(
            "INSERT INTO spoils_attempts (task_id, attempt, task_type, outcome, ended_at) "
            "VALUES (:id, 1, 'prompt', 'released', now())"
        ),
        {"id": started},
    )
    assert hands.perform(PromptJob).verdict.ending is Ending.FINISHED
    rows.task(metadata=PromptJob().to_wire(), task_type=PromptJob.task_type, due_in=-600, attempts=1)
    assert hands.perform(PromptJob).verdict.ending is Ending.FAILED, "claimed once, and released unstarted"


def test_what_nobody_claims_is_failed_by_maintenance_with_the_same_words_and_group(
    hands: Hands, engine: Engine, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    one = {"metadata": PromptJob().to_wire(), "task_type": PromptJob.task_type, "due_in": -61.0}
    rows.task(**one)  # type: ignore[arg-type]
    hands.perform(PromptJob)
    unclaimed = rows.task(**one)  # type: ignore[arg-type]
    caplog.set_level(logging.ERROR, logger="spoils.worker")
    Maintenance(
        engine=engine,
        worker_id=hands.worker_id,
        task_types=[],
        shared_with_fang=False,
        foreign_claim_timeout=None,
        turn=threading.Lock(),
        jobs=[PromptJob],
    ).tick()
    assert rows.one(unclaimed).error_message == f"Expired: {SENTENCE}"
    assert rows.value("SELECT count(DISTINCT fingerprint) FROM spoils_attempts") == 1
    assert "Failed 1 jobs that had expired" in caplog.text
