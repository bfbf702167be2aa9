"""What ends a worker, or a job that hangs, acts before it logs: the log may be what hangs."""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from spoils.config import Settings
from spoils.job.outcome import Interrupted, TimedOut
from spoils.job.registry import Registry
from spoils.queue.claim import Claim
from spoils.worker.attempt import Attempt
from spoils.worker.job_deadlines import JobDeadlines
from spoils.worker.shutdown import Shutdown
from spoils.worker.startup import WorkerParts
from spoils.worker.supervisor import Supervisor
from tests.programs import ROOT
from tests.queue.hands import take
from tests.rows import Rows
from tests.sample_jobs import SampleJob


class LogHangs(BaseException):
    """In place of a log that hangs: what comes after the line is not done."""


class HangingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise LogHangs


@pytest.fixture
def hanging_log() -> Iterator[None]:
    handler, log = HangingHandler(logging.WARNING), logging.getLogger("spoils.worker")
    log.addHandler(handler)
    yield
    log.removeHandler(handler)


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings.from_env({"DATABASE_URL": database_url, "WORKER_THREADS": "2"})


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.add(SampleJob)
    return registry


@pytest.fixture
def crippled() -> list[bool]:
    return []


@pytest.fixture
def parts(
    settings: Settings, registry: Registry, database_url: str, crippled: list[bool]
) -> Iterator[WorkerParts]:
    parts = WorkerParts(
        settings=settings,
        registry=registry,
        database_url=database_url,
        on_registered=lambda: None,
        on_ended=lambda: None,
        on_threads_lost=lambda: crippled.append(True),
    )
    yield parts
    parts.engine.dispose()
    parts.sessions.dispose()


@pytest.fixture
def claim(rows: Rows, connection: Connection) -> Claim:
    rows.task()
    (claim,) = take(connection, rows.worker())
    return claim


class Ear:
    """In place of the interruption."""

    def __init__(self) -> None:
        self.heard: list[type[Interrupted]] = []

    def interrupt(self, kind: type[Interrupted], *, anywhere: bool = False) -> bool:
        self.heard.append(kind)
        return True


@pytest.fixture
def attempt(parts: WorkerParts, claim: Claim) -> Attempt:
    return Attempt(claim, SampleJob(), engine=parts.sessions, stopping=threading.Event())


def test_a_worker_that_was_declared_dead_stops_before_it_logs(
    settings: Settings, registry: Registry, database_url: str, hanging_log: None
) -> None:
    supervisor = Supervisor(settings=settings, registry=registry, database_url=database_url)
    supervisor._parts.heartbeat.registered.set()
    with pytest.raises(LogHangs):
        supervisor._on_declared_dead()
    assert not supervisor._parts.heartbeat.registered.is_set()
    assert supervisor._declared_dead
    assert select.select([supervisor._wake_reader], [], [], 0)[0]
    for end in (supervisor._wake_reader, supervisor._wake_writer):
        os.close(end)


def test_a_worker_that_has_lost_half_of_its_threads_stops_before_it_logs(
    parts: WorkerParts,
    attempt: Attempt,
    crippled: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    hanging_log: None,
) -> None:
    parts.pool._lost.add(-1)
    monkeypatch.setattr(parts.pool, "_start_one", lambda: None)
    # The one line before is that of the failed attempt, which is settled by then.
    monkeypatch.setattr("spoils.worker.performer.log_ending", lambda *_: None)
    with pytest.raises(LogHangs):
        parts._give_up(attempt, TimedOut())
    assert crippled


def test_an_attempt_that_is_given_up_is_settled_before_that_is_logged(
    parts: WorkerParts, attempt: Attempt, hanging_log: None
) -> None:
    with pytest.raises(LogHangs):
        parts.performer.give_up(attempt, TimedOut())
    assert parts.settler.waiting == 1


def test_a_job_past_its_timeout_is_interrupted_before_that_is_logged(
    attempt: Attempt, hanging_log: None
) -> None:
    ear = Ear()
    attempt.interruption = ear  # type: ignore[assignment]
    attempt.cancelled_at = -3600.0
    deadlines = JobDeadlines(running=lambda: [attempt], give_up=lambda *_: None)
    with pytest.raises(LogHangs):
        deadlines.tick()
    assert len(ear.heard) == 1


def test_what_did_not_end_in_time_is_released_and_interrupted_before_that_is_logged(
    parts: WorkerParts, claim: Claim, attempt: Attempt, hanging_log: None
) -> None:
    parts.in_flight.add([claim])
    parts.performer._running[claim.token] = attempt
    with pytest.raises(LogHangs):
        Shutdown(parts, seconds=0, declared_dead=False)._release()
    assert parts.settler.waiting == 1
    assert attempt.interrupted_by is not None


def test_a_forked_process_ends_though_nobody_reads_its_traceback() -> None:
    program = (
        "from spoils.worker import forks; forks.LAST_WORDS_SECONDS = 0.2; "
        "forks.end_forked_process(ValueError('x' * 1_000_000))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.wait(60) == -signal.SIGALRM
        finally:
            process.kill()


def test_a_forked_process_ends_with_an_error_also_while_its_worker_stops() -> None:
    program = (
        "import os; from spoils.worker import force_exit, forks; force_exit.exit_within(60); pid = os.fork(); "
        "pid or forks.end_forked_process(ValueError('told')); os._exit(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    # In a group of its own, so that none is left where this fails.
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, cwd=ROOT, text=True, process_group=0
    ) as process:
        try:
            _, told = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 1
    assert "ValueError: told" in told
