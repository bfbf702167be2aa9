"""Limits on real workers: the jobs measure how many of them run at once, and how many start in a second."""

import os
import random
import signal
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from spoils.queue.enqueue import enqueue
from spoils.queue.enqueue_many import enqueue_many
from tests.faults.workers import workers_run
from tests.limited_jobs import BusyUpstreamJob, FiftyASecondJob, OneOfEachUserJob, ThreeAtOnceJob, make_spans
from tests.programs import JOBS, Program, worker
from tests.rows import Rows
from tests.support import eventually

pytestmark = pytest.mark.process

# Of an attempt whose worker died the end is the moment of its rescue: until then its place is not free.
AT_ONCE = """
WITH span AS (
    SELECT began, coalesce(ended, (
        SELECT min(ended_at) FROM spoils_attempts AS died
        WHERE died.task_id = spans.task_id AND died.outcome = 'crashed' AND died.ended_at > spans.began
    )) AS ended
    FROM spans
)
SELECT max((SELECT count(*) FROM span AS other WHERE other.began <= span.began AND other.ended > span.began)) FROM span
"""
IN_A_SECOND = """
SELECT max((SELECT count(*) FROM spans AS other
            WHERE other.began >= spans.began AND other.began < spans.began + interval '1 s')) FROM spans
"""
CLAIMED_IN_A_SECOND = """
WITH task AS (SELECT claimed_at FROM fang_tasks WHERE task_type = 'fifty_a_second')
SELECT max((SELECT count(*) FROM task AS other WHERE other.claimed_at >= task.claimed_at
            AND other.claimed_at < task.claimed_at + interval '1 s')) FROM task
"""
LEFT = "SELECT count(*) FROM fang_tasks WHERE state <> 'finished'"
WAKES = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY gap), percentile_cont(0.99) WITHIN GROUP (ORDER BY gap)
FROM (SELECT extract(epoch FROM began - lag(ended) OVER (ORDER BY began)) * 1000 AS gap FROM spans) AS gaps
WHERE gap IS NOT NULL
"""


@pytest.fixture(autouse=True)
def spans(connection: Connection) -> None:
    make_spans(connection)


def workers(database_url: str, **environment: str) -> Program:
    return worker(database_url, SPOILS_JOBS=f"{JOBS},tests.limited_jobs", **environment)


def all_end(rows: Rows, timeout: float) -> None:
    eventually(lambda: rows.value(LEFT) == 0, timeout, every=0.2)


def test_of_killed_workers_never_more_run_at_once_and_none_is_stuck(
    database_url: str, connection: Connection, rows: Rows, thorough: bool
) -> None:
    dice = random.Random(7)
    number, kills, processes = (5000, 20, 8) if thorough else (400, 2, 3)
    jobs = [ThreeAtOnceJob(number=one, milliseconds=dice.randint(5, 50)) for one in range(number)]
    with workers(database_url, WORKER_PROCESSES=str(processes)):
        workers_run(rows, processes)
        enqueue_many(connection, jobs)
        for kill in range(kills):
            eventually(lambda kill=kill: rows.value("SELECT count(*) FROM spans") > (kill + 1) * 50, 60)
            found = rows.all(
                "SELECT pid FROM spoils_workers WHERE ended_at IS NULL AND beat_at > now() - interval '2 s'"
            )
            os.kill(dice.choice(found)[0], signal.SIGKILL)
        all_end(rows, 300)
    assert rows.value(AT_ONCE) == 3
    assert rows.value("SELECT count(*) FROM spoils_limit_places") == 0
    assert rows.value("SELECT count(*) FROM spoils_parked") == 0


def test_no_more_start_in_a_second_than_the_rate(
    database_url: str, connection: Connection, rows: Rows, thorough: bool
) -> None:
    seconds = 30 if thorough else 4
    with workers(database_url, WORKER_PROCESSES="2", WORKER_THREADS="8"):
        workers_run(rows, 2)
        enqueue_many(connection, [FiftyASecondJob(number=one) for one in range(50 * seconds)])
        all_end(rows, 20 + seconds)
    assert rows.value(CLAIMED_IN_A_SECOND) == 50
    assert rows.value(IN_A_SECOND) <= 55


def test_the_next_of_a_key_starts_when_the_one_before_has_ended(
    database_url: str, connection: Connection, rows: Rows, thorough: bool
) -> None:
    keys, each = (1000, 100) if thorough else (40, 5)
    users = [f"user{number}" for number in range(keys)]
    with workers(database_url, WORKER_PROCESSES="2"):
        workers_run(rows, 2)
        enqueue_many(connection, [OneOfEachUserJob(user=user) for _ in range(each) for user in users])
        all_end(rows, 1200 if thorough else 60)
        turns = rows.all(
            "SELECT turn, max(place) FROM (SELECT row_number() OVER (PARTITION BY name ORDER BY began) AS turn, "
            "row_number() OVER (ORDER BY began) AS place FROM spans) AS turns GROUP BY turn ORDER BY turn"
        )
        # All keys have had a turn before most have had the one after the next.
        assert all(place <= keys * (turn + 2) for turn, place in turns)
        connection.execute(text("TRUNCATE spans"))
        enqueue_many(connection, [OneOfEachUserJob(milliseconds=20) for _ in range(60)])
        all_end(rows, 60)
    assert rows.value(AT_ONCE) == 1
    print("ms from an end to the next start, median and p99: {:.1f}, {:.1f}".format(*rows.all(WAKES)[0]))


def test_a_job_that_was_told_to_come_back_later_holds_its_type_in_every_worker(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with workers(database_url, WORKER_PROCESSES="2"):
        workers_run(rows, 2)
        first = enqueue(connection, BusyUpstreamJob()).id
        rows.becomes(first, "retried")
        until = rows.value("SELECT until FROM spoils_holds")
        beats = "SELECT min(beat_at) > :since FROM spoils_workers"  # a notification may come late on a busy machine
        eventually(lambda: rows.value(beats, since=until - timedelta(seconds=6)))
        others = [enqueue(connection, BusyUpstreamJob(number=1)).id for _ in range(5)]
        for other in others:
            began = rows.becomes(other, "finished").claimed_at
            assert began >= until
