"""Schedules made at runtime, as workers carry them out: by the same record of ticks as those of classes."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar, Literal

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import make_engine, transaction
from spoils.job import Job, Queue
from spoils.job.cron import Cron
from spoils.queue import schedules
from spoils.worker.claim_connection import ClaimConnection
from spoils.worker.scheduler import LOOK_SECONDS, Scheduler
from tests.classes import throw_away_classes
from tests.locks import at_once, held
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import eventually


@pytest.fixture
def direct(database_url: str) -> Iterator[Engine]:
    """A pooler could not pass notifications on."""
    made = make_engine(database_url, connections=1, application_name="claims", autocommit=True, ping=False)
    yield made
    made.dispose()


EVERY_SECOND, EVERY_MINUTE, YEARLY = Cron("* * * * * *"), Cron("* * * * *"), Cron("0 0 1 1 *")


def scheduler(engine: Engine, *jobs: type[Job]) -> Scheduler:
    return Scheduler(
        engine=engine, jobs=jobs or (SampleJob, UniqueSampleJob), default_zone="UTC", turn=threading.Lock()
    )


def made(
    connection: Connection, cron: Cron = EVERY_SECOND, job: Job | None = None, name: str = "mine"
) -> int:
    job = job or SampleJob(number=7)
    payload = job.model_dump(mode="json")
    made = schedules.create(connection, name=name, job=job, payload=payload, cron=cron, who="ann")
    return made.id


def last_look(connection: Connection, **ago: float) -> None:
    """Let the last look have been this long ago."""
    connection.execute(
        text("UPDATE spoils_schedules SET settled_until = now() - CAST(:ago AS interval)"),
        {"ago": timedelta(**ago)},
    )


def outcomes(rows: Rows) -> dict[str, int]:
    return dict(rows.all("SELECT outcome, count(*) FROM spoils_ticks GROUP BY 1"))  # type: ignore[arg-type]


def test_a_tick_enqueues_the_payload_once_however_many_workers_look(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    made(connection)
    last_look(connection, seconds=5)
    several = [scheduler(engine) for _ in range(8)]
    left = at_once(8, lambda number: several[number].tick())
    assert all(0 < seconds <= 1 for seconds in left)
    ticks = rows.value("SELECT count(*) FROM spoils_ticks")
    assert ticks >= 5
    assert rows.value("SELECT count(DISTINCT task_id) FROM spoils_ticks WHERE outcome = 'entered'") == ticks
    assert rows.all("SELECT metadata, count(*) FROM fang_tasks GROUP BY 1") == [
        ({"type": "SampleJob", "number": 7}, ticks)
    ]


def test_a_schedule_that_is_not_due_costs_a_look_and_says_when_it_is(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    assert scheduler(engine).tick() == LOOK_SECONDS
    made(connection, YEARLY)
    assert scheduler(engine).tick() == LOOK_SECONDS
    made(connection, EVERY_SECOND, name="other")
    assert 0 < scheduler(engine).tick() <= 1


class OnceJob(Job):
    """Runs one of the ticks that it missed."""

    catch_up: ClassVar[Literal["skip", "once", "all"]] = "once"

    def run(self, queue: Queue) -> None:
        return None


class AloneJob(Job):
    """Runs one at a time."""

    overlap = False

    def run(self, queue: Queue) -> None:
        return None


def test_the_policies_of_the_class_hold(engine: Engine, connection: Connection, rows: Rows) -> None:
    made(connection, EVERY_MINUTE, OnceJob(), "once")
    last_look(connection, minutes=10)
    scheduler(engine, OnceJob).tick()
    # One of those that came due while no worker was up, and one or two of the last minute.
    assert 7 <= outcomes(rows)["missed"] <= 9
    assert outcomes(rows)["entered"] in (2, 3)
    connection.execute(text("TRUNCATE fang_tasks, spoils_ticks, spoils_schedules"))
    made(connection, EVERY_SECOND, AloneJob(), "alone")
    last_look(connection, seconds=5)
    scheduler(engine, AloneJob).tick()
    assert outcomes(rows)["entered"] == 1
    assert outcomes(rows)["skipped"] >= 4


def test_a_unique_job_is_enqueued_once_at_a_time_for_each_payload(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    made(connection, job=UniqueSampleJob(number=1), name="a")
    made(connection, job=UniqueSampleJob(number=2), name="b")
    last_look(connection, seconds=5)
    scheduler(engine).tick()
    assert rows.value("SELECT count(*) FROM fang_tasks") == 2


def test_an_async_class_may_be_scheduled(engine: Engine, connection: Connection, rows: Rows) -> None:
    with throw_away_classes():

        class AsyncTickJob(Job):
            async def run(self, queue: Queue) -> None:
                return None

        made(connection, job=AsyncTickJob())
        last_look(connection, seconds=2)
        scheduler(engine, AsyncTickJob).tick()
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE task_type = 'async_tick'") >= 2


def test_ticks_of_a_paused_schedule_are_skipped_and_not_made_up_for(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    schedule_id = made(connection)
    schedules.pause(connection, schedule_id, who="ann")
    connection.execute(text("UPDATE spoils_schedules SET paused_at = now() - interval '1 minute'"))
    last_look(connection, seconds=5)
    scheduler(engine).tick()
    assert set(rows.all("SELECT outcome, reason FROM spoils_ticks")) == {("skipped", "paused")}
    last_look(connection, days=3)
    schedules.resume(connection, schedule_id, who="ann")
    scheduler(engine).tick()
    assert rows.value("SELECT count(*) FROM fang_tasks") <= 1


def test_another_cron_does_not_replay_the_past(engine: Engine, connection: Connection, rows: Rows) -> None:
    schedule_id = made(connection, YEARLY, OnceJob())
    last_look(connection, days=300)
    schedules.change(connection, schedule_id, who="ann", cron=EVERY_MINUTE)
    scheduler(engine, OnceJob).tick()
    assert set(outcomes(rows)) <= {"entered"}
    assert rows.value("SELECT count(*) FROM fang_tasks") <= 1


class Broken:
    """A schedule that this release cannot run, and how it comes to be one."""

    UNKNOWN = "runtime_job = 'GoneJob'"
    PAYLOAD = """payload = '{"number": "x"}'"""
    CRON = "cron = 'nonsense'"
    ZONE = "zone = 'Mars/Olympus'"


@pytest.mark.parametrize("change", [Broken.UNKNOWN, Broken.PAYLOAD, Broken.CRON, Broken.ZONE])
def test_a_schedule_that_this_release_cannot_run_is_left_to_others_and_logged_once(
    engine: Engine, connection: Connection, rows: Rows, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    made(connection, name="broken")
    made(connection, name="fine")
    connection.execute(text(f"UPDATE spoils_schedules SET {change} WHERE name = 'broken'"))
    last_look(connection, seconds=3)
    one = scheduler(engine)
    for _ in range(3):
        one.tick()
    assert len([record for record in caplog.records if "broken" in record.getMessage()]) == 1
    assert not any(record.exc_info for record in caplog.records)
    by_name = "SELECT name, count(*) FROM spoils_ticks JOIN spoils_schedules ON id = schedule_id GROUP BY 1"
    assert [name for name, _ in rows.all(by_name)] == ["fine"]
    # Once it is mended, the ticks of the last minute that nobody could enqueue are.
    connection.execute(
        text(
            "UPDATE spoils_schedules SET version = version + 1, runtime_job = 'SampleJob', payload = '{}', "
            "cron = '* * * * * *', zone = 'UTC' WHERE name = 'broken'"
        )
    )
    one.tick()
    assert dict(rows.all(by_name))["broken"] >= 3  # type: ignore[arg-type]


def test_a_release_that_knows_the_class_enqueues_what_another_one_leaves(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    made(connection)
    last_look(connection, seconds=3)
    scheduler(engine, UniqueSampleJob).tick()
    assert outcomes(rows) == {}
    scheduler(engine, SampleJob).tick()
    assert outcomes(rows)["entered"] >= 3


@pytest.fixture
def read_before(engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> int:
    """A look that has read the schedules before something happens to them."""
    schedule_id = made(connection)
    last_look(connection, seconds=3)
    read = schedules.runtime_schedules(connection)
    monkeypatch.setattr(schedules, "runtime_schedules", lambda _connection: read)
    return schedule_id


@pytest.mark.parametrize("act", ["change", "pause", "remove"])
def test_after_a_change_no_tick_is_enqueued_as_it_was_before(
    engine: Engine, connection: Connection, rows: Rows, read_before: int, act: str
) -> None:
    if act == "change":
        job = SampleJob(number=8)
        schedules.change(connection, read_before, who="ann", job=job, payload={"number": 8})
    else:
        getattr(schedules, act)(connection, read_before, who="ann")
    scheduler(engine).tick()
    assert outcomes(rows) == {}
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


def test_a_tick_waits_for_a_change_that_is_under_way(
    engine: Engine, connection: Connection, rows: Rows, read_before: int
) -> None:
    one = scheduler(engine)
    with held(engine) as changing:
        schedules.remove(changing, read_before, who="ann")
        ticking = threading.Thread(target=one.tick)
        ticking.start()

        def waits() -> None:
            assert rows.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == 1

        eventually(waits)
        changing.commit()
    ticking.join(60)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


@pytest.mark.parametrize("act", ["create", "change", "pause", "resume"])
def test_workers_are_notified_of_a_change_at_its_commit(
    engine: Engine, connection: Connection, direct: Engine, act: str
) -> None:
    schedule_id = made(connection) if act != "create" else 0
    if act == "resume":
        schedules.pause(connection, schedule_id, who="ann")
    heard: list[bool] = []
    claims = ClaimConnection(direct, lambda: heard.append(True))
    try:
        claims.get()
        with transaction(engine) as changing:
            if act == "create":
                made(changing)
            elif act == "change":
                schedules.change(changing, schedule_id, who="ann", cron=YEARLY)
            else:
                getattr(schedules, act)(changing, schedule_id, who="ann")
        claims.wait(10)
        assert not any(claims.notifications())
        assert heard
    finally:
        claims.close()
