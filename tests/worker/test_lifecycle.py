"""Workers that are started and stopped again and again by several threads: nothing locks up, nothing is left."""

import gc
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from spoils.config import Settings
from spoils.job.outcome import FINISHED
from spoils.job.registry import Registry
from spoils.queue.claim import Claim
from spoils.queue.enqueue import enqueue
from spoils.queue.settlement import Settlement
from spoils.worker.shutdown import Shutdown
from spoils.worker.startup import WorkerParts
from spoils.worker.watchdog import CHECK_SECONDS
from tests.rows import Rows
from tests.sample_jobs import EFFECTS, EffectJob, SampleJob
from tests.support import eventually

FOR_EVER = 1e8
"""A grace of seconds that never ends: when it does, the process is ended by force."""

ONE_AT_A_TIME = threading.Lock()


@pytest.fixture
def parts(database_url: str, connection: Connection) -> "Makes":
    connection.execute(text(EFFECTS))
    return Makes(database_url)


class Makes:
    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._registry = Registry()
        self._registry.add(SampleJob)
        self._registry.add(EffectJob)
        self._settings = Settings.from_env({"DATABASE_URL": database_url, "WORKER_THREADS": "3"})

    def __call__(self) -> WorkerParts:
        # Flask compiles its route for static files, and Python 3.11's compiler is not made for several threads.
        with ONE_AT_A_TIME:
            return WorkerParts(
                settings=self._settings,
                registry=self._registry,
                database_url=self._url,
                on_registered=lambda: None,
                on_ended=lambda: None,
                on_threads_lost=lambda: None,
            )


def stop(one: WorkerParts, rows: Rows) -> None:
    Shutdown(one, seconds=FOR_EVER, declared_dead=False).run()
    with ONE_AT_A_TIME:
        left = rows.value("SELECT ended_at IS NOT NULL FROM spoils_workers WHERE id = :id", id=one.worker_id)
    # A machine that stalls may keep it from leaving within its half second; its process would end then.
    if not left:
        assert one.heartbeat.loop.stop(60)
        one.heartbeat.leave()


def threads() -> Counter[str]:
    """The threads by name; one that would end the process by force stays behind each shutdown on purpose."""
    return Counter(
        thread.name.split("-")[0] for thread in threading.enumerate() if thread.name != "force-exit"
    )


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_ten_threads_start_and_stop_workers_and_leave_no_thread_no_file_no_session_and_no_task(
    parts: Makes, connection: Connection, rows: Rows, thorough: bool
) -> None:
    times = 50 if thorough else 3
    tasks = [enqueue(connection, SampleJob(number=number)).id for number in range(200)]
    tasks += [enqueue(connection, EffectJob(name=str(number))).id for number in range(100)]
    before, files_before = threads(), files()

    def again_and_again(_: int) -> None:
        for _ in range(times):
            one = parts()
            one.start()
            assert one.heartbeat.registered.wait(60)
            stop(one, rows)

    with ThreadPoolExecutor(10) as ten:
        list(ten.map(again_and_again, range(10)))

    def nothing_is_left() -> None:
        # A statement that was under way at the stop gives its connection back to a pool that nobody has any more.
        gc.collect()
        assert threads() - before == Counter()
        assert files() <= files_before
        assert rows.all("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'spoils:%'") == []

    eventually(nothing_is_left)
    assert rows.all("SELECT ended_how, count(*) FROM spoils_workers GROUP BY 1") == [("clean", 10 * times)]
    last = parts()
    last.start()
    try:
        eventually(lambda: all_are_finished(rows), 60)
    finally:
        stop(last, rows)
    assert rows.value("SELECT max(retries) + max(crashes) FROM fang_tasks") == 0
    assert rows.value("SELECT count(*) FROM effects") == 100
    assert rows.value("SELECT count(*) FROM fang_tasks") == len(tasks)


def all_are_finished(rows: Rows) -> None:
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE state <> 'finished'") == 0


def test_a_claim_in_hand_that_no_thread_performs_is_complained_of_until_its_outcome_waits_to_be_written(
    parts: Makes,
) -> None:
    one = parts()
    claim = Claim(str(uuid4()), "sample", "SampleJob", "{}", 0, 1, 0, 0, "", "")
    one.in_flight.add([claim])
    told = [one.watchdog.complaint(look * CHECK_SECONDS, awake=True) for look in range(20)]
    assert told[0] is None
    assert told[-1] == "Claimed jobs have waited beside free threads for more than 60 s"
    one.settler.hand_over(Settlement(claim.key, claim.attempts, FINISHED, claim.claimed_at, 0))
    assert one.watchdog.complaint(1000.0, awake=True) is None
    one.dispatcher.close()
    one.engine.dispose()
    one.sessions.dispose()
