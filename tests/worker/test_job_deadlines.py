"""When a job is interrupted, and when its thread is given up. `tests/process` has the interruptions themselves."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import make_engine
from spoils.job import Queue
from spoils.job.outcome import Cancelled, GivenBack, Interrupted, TimedOut
from spoils.queue.claim import Claim
from spoils.worker.attempt import Attempt
from spoils.worker.job_deadlines import (
    AGAIN_SECONDS,
    COOPERATION_SECONDS,
    IDLE_SECONDS,
    OBEDIENCE_SECONDS,
    POSTPONED_SECONDS,
    JobDeadlines,
)


class Ear:
    """In place of the interruption: it notes what it hears. A tracer and a real one get along on no Python 3.11."""

    def __init__(self, *, inside: bool) -> None:
        self.inside = inside
        self.heard: list[type[Interrupted]] = []
        self.anywhere = False

    def interrupt(self, kind: type[Interrupted], *, anywhere: bool = False) -> bool:
        self.heard.append(kind)
        self.anywhere = anywhere
        return self.inside


class Bench:
    """The deadlines of attempts that the test makes older than they are."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.running: list[Attempt] = []
        self.given_up: list[tuple[Attempt, Interrupted]] = []
        self.stopping = threading.Event()
        self.deadlines = JobDeadlines(
            running=lambda: self.running, give_up=lambda *given: self.given_up.append(given)
        )

    def attempt(self, timeout: float | None = None, *, inside: bool = True) -> tuple[Attempt, Ear]:
        claim = Claim(str(uuid4()), "sample", "SampleJob", "{}", 0, 1, 0, 0, "", "")
        made = Attempt(claim, SimpleNamespace(timeout=timeout), engine=self.engine, stopping=self.stopping)
        ear = Ear(inside=inside)
        made.interruption = ear  # type: ignore[assignment]
        self.running.append(made)
        return made, ear


@pytest.fixture
def bench(database_url: str) -> Iterator[Bench]:
    engine = make_engine(database_url, connections=1, application_name="tests")
    yield Bench(engine)
    engine.dispose()


def close(attempt: Attempt) -> None:
    with Flask("tests").app_context():
        attempt.close()


def test_it_sleeps_until_the_next_moment_that_matters(bench: Bench) -> None:
    assert bench.deadlines.tick() == IDLE_SECONDS
    _, endless = bench.attempt()
    assert bench.deadlines.tick() == IDLE_SECONDS
    bench.attempt(3600)
    assert bench.deadlines.tick() == IDLE_SECONDS
    _, soon = bench.attempt(40)
    assert 0 < bench.deadlines.tick() <= 40
    assert endless.heard == soon.heard == []


def test_a_job_past_its_timeout_is_interrupted_once_and_given_up_where_it_does_not_end(bench: Bench) -> None:
    attempt, ear = bench.attempt(40)
    attempt.started_at -= 40
    assert bench.deadlines.tick() == OBEDIENCE_SECONDS
    assert 0 < bench.deadlines.tick() <= OBEDIENCE_SECONDS
    assert set(ear.heard) == {TimedOut}
    assert bench.given_up == []
    attempt.interrupted_at -= OBEDIENCE_SECONDS
    assert bench.deadlines.tick() == IDLE_SECONDS
    ((given_up, error),) = bench.given_up
    assert given_up is attempt
    assert isinstance(error, TimedOut)


def test_a_cancelled_job_has_a_while_to_listen(bench: Bench) -> None:
    attempt, ear = bench.attempt(3600)
    attempt.ask_to_stop()
    asked_at = attempt.cancelled_at
    attempt.ask_to_stop()
    assert attempt.cancelled_at == asked_at
    assert 0 < bench.deadlines.tick() <= COOPERATION_SECONDS
    assert ear.heard == []
    assert asked_at is not None
    attempt.cancelled_at = asked_at - COOPERATION_SECONDS
    bench.deadlines.tick()
    assert ear.heard == [Cancelled]


def test_what_cannot_be_interrupted_now_is_asked_again_soon_and_then_wherever_it_is(bench: Bench) -> None:
    attempt, ear = bench.attempt(1, inside=False)
    attempt.started_at -= 1
    assert bench.deadlines.tick() == AGAIN_SECONDS
    assert attempt.interrupted_by is TimedOut
    attempt.interrupted_at -= POSTPONED_SECONDS - 1
    assert bench.deadlines.tick() == AGAIN_SECONDS
    assert not ear.anywhere
    attempt.interrupted_at -= 1
    assert bench.deadlines.tick() == AGAIN_SECONDS
    assert ear.anywhere
    assert bench.given_up == []


def test_an_attempt_that_fails_to_end_does_not_keep_others_from_their_end(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    class Torn(Attempt):
        def interrupt(self, kind: type[Interrupted]) -> None:
            raise KeyError("gone")

    torn, _ = bench.attempt(1)
    torn.__class__ = Torn
    other, ear = bench.attempt(1)
    for one in (torn, other):
        one.started_at -= 1
    assert bench.deadlines.tick() == 1.0
    assert ear.heard == [TimedOut]
    assert "Failed to interrupt a job" in caplog.text


def test_a_checkpoint_tells_a_job_to_stop(bench: Bench) -> None:
    attempt, _ = bench.attempt()
    queue: Queue = attempt
    queue.checkpoint()
    bench.stopping.set()
    with pytest.raises(GivenBack):
        queue.checkpoint()
    attempt.ask_to_stop()
    with pytest.raises(Cancelled):
        queue.checkpoint()


def test_an_interruption_fails_what_its_session_waits_for_and_its_connection_is_nobody_else_s(
    bench: Bench,
) -> None:
    attempt, _ = bench.attempt()
    attempt.cut()
    connection = attempt.connection
    driver: Any = connection.connection.driver_connection
    assert attempt.opened
    attempt.interrupt(TimedOut)
    with pytest.raises(DBAPIError, match="connection") as failed:
        connection.execute(text("SELECT 1"))
    attempt.cut()
    close(attempt)
    assert driver.closed
    assert bench.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    cause = attempt.cause_of(failed.value)
    assert isinstance(cause, TimedOut)
    assert cause.__cause__ is failed.value
    assert attempt.cause_of(cause) is cause


def test_the_connection_of_an_attempt_that_was_interrupted_in_its_last_moment_is_not_given_back(
    bench: Bench,
) -> None:
    attempt, _ = bench.attempt()
    driver: Any = attempt.connection.connection.driver_connection
    attempt.interrupted_by = TimedOut  # and its socket is not cut yet
    close(attempt)
    assert driver.closed
