"""Async attempts in process, against a real database: their outcomes, and what `in_session` commits."""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from flask import g
from sqlalchemy import text
from sqlalchemy.orm import Session

from spoils.job import Job, Outcome, Queue
from spoils.job.outcome import Cancelled, Ending, TimedOut
from tests.async_jobs import AsyncOutcomeJob, writes
from tests.rows import Rows
from tests.support import in_thread
from tests.worker.performing import Hands

Run = Callable[[Queue], Awaitable[Outcome | None]]


def job(run: Run) -> Job:
    """An instance of a class whose `run` is this function."""

    class TriedJob(Job):
        timeout = 60

        async def run(self, queue: Queue) -> Outcome | None:
            return await run(queue)

    return TriedJob()


@pytest.mark.parametrize(
    ("how", "ending"),
    [
        ("", Ending.FINISHED),
        ("done", Ending.FINISHED),
        ("snooze", Ending.SNOOZED),
        ("cancel", Ending.CANCELLED),
        ("raise cancel", Ending.CANCELLED),
        ("later", Ending.RETRIED),
        ("raise", Ending.RETRIED),
        ("exit", Ending.RETRIED),
        ("cancelled by itself", Ending.RETRIED),
        ("cancels its own task", Ending.RETRIED),
        ("session", Ending.RETRIED),
        ("returns a value", Ending.RETRIED),
    ],
)
def test_an_async_job_ends_as_a_sync_one_does(hands: Hands, how: str, ending: Ending) -> None:
    hands.perform_async(AsyncOutcomeJob(how=how))
    assert hands.ending is ending


def test_queue_session_names_what_to_await_instead(hands: Hands) -> None:
    hands.perform_async(AsyncOutcomeJob(how="session"))
    assert "await queue.in_session(function)" in hands.error


def test_a_sync_job_has_no_in_session(hands: Hands) -> None:
    class SyncJob(Job):
        def run(self, queue: Queue) -> None:
            queue.in_session(writes("sync", queue))

    hands.perform(SyncJob())
    assert "Use queue.session here" in hands.error


def test_what_it_enqueues_goes_in_with_its_completion(hands: Hands, rows: Rows) -> None:
    hands.perform_async(AsyncOutcomeJob(how="enqueue"))
    assert hands.settlements == []
    assert len(hands.dropped) == 1
    assert rows.all("SELECT state::text, priority FROM fang_tasks ORDER BY priority") == [
        ("finished", 0),
        ("new", 1),
    ]


def test_what_in_session_writes_commits_with_the_completion(hands: Hands, rows: Rows) -> None:
    seen = []

    async def run(queue: Queue) -> None:
        await queue.in_session(writes("first", queue))
        await queue.in_session(writes("second", queue))
        seen.append(rows.effects("first"))

    hands.perform_async(job(run))
    assert seen == [0]
    assert rows.effects("first") == rows.effects("second") == 1
    assert rows.value("SELECT state::text FROM fang_tasks") == "finished"
    assert hands.settlements == []


def test_what_it_wrote_is_rolled_back_if_it_fails(hands: Hands, rows: Rows) -> None:
    async def run(queue: Queue) -> None:
        await queue.in_session(writes("first", queue))
        raise ValueError("after the effect")

    hands.perform_async(job(run))
    assert hands.error == "ValueError: after the effect"
    assert rows.effects("first") == 0


def test_a_call_of_in_session_that_raises_undoes_its_own_writes_only(hands: Hands, rows: Rows) -> None:
    async def run(queue: Queue) -> None:
        await queue.in_session(writes("first", queue))

        def fails(session: Session) -> None:
            writes("second", queue)(session)
            session.execute(text("SELECT 1 / 0"))

        with pytest.raises(Exception, match="division by zero"):
            await queue.in_session(fails)
        await queue.in_session(writes("third", queue))

    hands.perform_async(job(run))
    assert [rows.effects(name) for name in ("first", "second", "third")] == [1, 0, 1]


def test_the_result_of_a_lost_claim_is_discarded_with_its_writes(hands: Hands, rows: Rows) -> None:
    async def run(queue: Queue) -> None:
        await queue.in_session(writes("first", queue))
        rows.connection.execute(text("UPDATE fang_tasks SET attempts = attempts + 1"))

    hands.perform_async(job(run))
    assert rows.effects("first") == 0
    assert rows.value("SELECT state::text FROM fang_tasks") == "in_progress"


def test_one_call_of_in_session_runs_at_a_time(hands: Hands) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter(session: Session) -> None:
        inside.append(1)
        most.append(len(inside))
        session.execute(text("SELECT pg_sleep(0.02)"))
        inside.pop()

    async def run(queue: Queue) -> None:
        await asyncio.gather(*(queue.in_session(enter) for _ in range(5)))

    hands.perform_async(job(run))
    assert most == [1] * 5


def test_objects_that_in_session_returns_can_be_read(hands: Hands) -> None:
    seen = []

    async def run(queue: Queue) -> None:
        found = await queue.in_session(lambda session: session.scalars(text("SELECT 5")).one())
        seen.append(found)

    hands.perform_async(job(run))
    assert seen == [5]


def test_a_function_that_would_have_to_be_awaited_is_refused(hands: Hands) -> None:
    async def writes_nothing(session: Session) -> None: ...

    async def run(queue: Queue) -> None:
        await queue.in_session(writes_nothing)

    hands.perform_async(job(run))
    assert hands.error.startswith("TypeError: queue.in_session takes a plain function")


def test_jobs_wait_for_a_connection_without_a_thread_and_each_gets_it(hands: Hands, rows: Rows) -> None:
    """Twenty jobs share one connection, and each holds it to its end."""
    threads = []

    async def run(queue: Queue) -> None:
        await queue.in_session(writes("one", queue))
        threads.append(threading.active_count())
        await asyncio.sleep(0)
        await queue.in_session(writes("two", queue))

    tried = type(job(run))
    hands.perform_async(*(tried() for _ in range(20)))
    assert rows.effects("one") == rows.effects("two") == 20
    assert max(threads) <= threading.active_count() + 10
    assert len(hands.dropped) == 20


class Interrupting:
    """Interrupts the one attempt that runs, from another thread, once the job says that it has begun."""

    def __init__(self, hands: Hands, kind: type[TimedOut | Cancelled]) -> None:
        self.begun = threading.Event()
        self._hands = hands
        self._kind = kind
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        assert self.begun.wait(30)
        (attempt,) = self._hands.performer.running()
        attempt.interrupt(self._kind)
        deadline = time.monotonic() + 10
        while not attempt.interrupt_code(self._kind, anywhere=True) and time.monotonic() < deadline:
            self.begun.wait(0.01)

    def __enter__(self) -> "Interrupting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


@pytest.mark.parametrize(("kind", "ending"), [(TimedOut, Ending.TIMED_OUT), (Cancelled, Ending.CANCELLED)])
@pytest.mark.parametrize("waits", ["in the loop", "in a task group", "in a query", "in a session's code"])
def test_an_interruption_ends_the_job_wherever_it_waits(
    *, hands: Hands, rows: Rows, kind: type[TimedOut | Cancelled], ending: Ending, waits: str
) -> None:
    def query(session: Session) -> None:
        interrupting.begun.set()
        session.execute(text("SELECT pg_sleep(60)"))

    def code(session: Session) -> None:
        interrupting.begun.set()
        pause = time.monotonic() + 60
        while time.monotonic() < pause:
            pass

    async def run(queue: Queue) -> None:
        match waits:
            case "in the loop":
                asyncio.get_running_loop().call_later(0.05, interrupting.begun.set)
                await asyncio.sleep(60)
            case "in a task group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(asyncio.sleep(60))
                    asyncio.get_running_loop().call_later(0.05, interrupting.begun.set)
            case "in a query":
                await queue.in_session(query)
            case _:
                await queue.in_session(code)

    with Interrupting(hands, kind) as interrupting:
        hands.perform_async(job(run))
    assert hands.ending is ending


def test_an_interruption_that_the_job_answers_with_another_error_is_still_the_cause(hands: Hands) -> None:
    async def run(queue: Queue) -> None:
        asyncio.get_running_loop().call_later(0.05, interrupting.begun.set)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as exc:
            raise ValueError("its own") from exc

    with Interrupting(hands, TimedOut) as interrupting:
        hands.perform_async(job(run))
    assert hands.ending is Ending.TIMED_OUT


def test_a_job_that_swallows_its_interruption_and_wrote_something_does_not_commit(
    hands: Hands, rows: Rows
) -> None:
    async def run(queue: Queue) -> None:
        await queue.in_session(writes("first", queue))
        asyncio.get_running_loop().call_later(0.05, interrupting.begun.set)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    with Interrupting(hands, TimedOut) as interrupting:
        hands.perform_async(job(run))
    assert hands.ending is Ending.TIMED_OUT
    assert rows.effects("first") == 0


@pytest.mark.parametrize("where", ["in run", "in a task of its own", "in a task group", "in in_session"])
def test_a_checkpoint_releases_a_job_while_the_worker_stops(hands: Hands, where: str) -> None:
    async def checks(queue: Queue) -> None:
        queue.checkpoint()

    async def run(queue: Queue) -> None:
        match where:
            case "in run":
                queue.checkpoint()
            case "in a task of its own":
                task = asyncio.create_task(checks(queue))
                await asyncio.wait([task])
                await asyncio.sleep(60)
            case "in a task group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(checks(queue))
                    await asyncio.sleep(60)
            case _:
                await queue.in_session(lambda _: queue.checkpoint())

    hands.stopping.set()
    hands.perform_async(job(run))
    assert hands.ending is Ending.RELEASED


def test_in_session_after_the_end_of_the_job_is_refused(hands: Hands) -> None:
    late: list[BaseException | None] = []

    async def leftover(queue: Queue, ended: asyncio.Event) -> None:
        await ended.wait()
        await queue.in_session(writes("late", queue))

    async def together() -> None:
        ended = asyncio.Event()
        tasks = []

        async def run(queue: Queue) -> None:
            tasks.append(asyncio.create_task(leftover(queue, ended)))

        await hands.performer.perform_async(hands.take(job(run)))
        ended.set()
        await asyncio.wait(tasks)
        late.append(tasks[0].exception())

    in_thread(lambda: asyncio.run(together()))
    assert type(late[0]).__name__ == "JobEnded"
    assert hands.ending is Ending.FINISHED


def test_a_class_of_the_other_kind_than_its_task_type_s_is_failed_with_a_sentence(hands: Hands) -> None:
    hands.perform(AsyncOutcomeJob(how=""))
    assert hands.ending is Ending.FAILED
    assert "only one of them is performed by the event loop" in hands.error


def test_jobs_have_a_flask_context_each(hands: Hands) -> None:
    seen = []

    async def run(queue: Queue) -> None:
        seen.append(hasattr(g, "mine"))
        g.mine = queue.task_id
        await asyncio.sleep(0.01)
        seen.append(g.mine == queue.task_id)

    tried = type(job(run))
    hands.perform_async(tried(), tried())
    assert seen == [False, False, True, True]


def test_whenever_jobs_are_interrupted_each_has_one_outcome_and_no_connection_is_kept(
    hands: Hands, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(2026)
    ended = threading.Event()

    def sleep(session: Session) -> None:
        session.execute(text("SELECT pg_sleep(0.005)"))

    async def run(queue: Queue) -> None:
        for _ in range(dice.randint(1, 4)):
            match dice.randint(0, 4):
                case 0:
                    await asyncio.sleep(dice.random() / 10)
                case 1:
                    await queue.in_session(sleep)
                case 2:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.004):
                            await queue.in_session(sleep)
                case 3:
                    await asyncio.gather(*(queue.in_session(sleep) for _ in range(3)))
                case _ if dice.random() < 0.2:
                    raise ValueError("its own")
        await queue.in_session(writes("end", queue))

    def disturb() -> None:
        while not ended.wait(0.02):
            for attempt in hands.performer.running():
                if attempt.interrupted_by is not None:
                    attempt.cut()
                    attempt.interrupt_code(attempt.interrupted_by, anywhere=True)
                elif dice.random() < 0.02:
                    attempt.interrupt(TimedOut)

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    tried = type(job(run))
    try:
        hands.perform_async(*(tried() for _ in range(150)))
    finally:
        ended.set()
        disturbing.join()
    endings = {settlement.verdict.ending for settlement in hands.settlements}
    assert {Ending.TIMED_OUT} <= endings <= {Ending.TIMED_OUT, Ending.RETRIED}
    assert len(hands.settlements) + len(hands.dropped) == 150
    assert rows.effects("end") == len(hands.dropped) > 0
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    assert hands.performer.running() == []
