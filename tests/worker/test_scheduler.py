"""The scheduler: what is due is entered, what nobody was there for is told as missed, and a long absence is bounded."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.job import Job, Queue
from spoils.models import PauseKind
from spoils.queue import pauses
from spoils.queue.enqueue import enqueue
from spoils.worker import scheduler as room
from spoils.worker.scheduler import ERROR_SECONDS, LOOK_SECONDS, Scheduler
from tests.locks import at_once
from tests.rows import Rows
from tests.sample_jobs import EverySecondJob
from tests.support import eventually


class EveryMinuteJob(Job):
    """Comes every minute."""

    cron = "* * * * *"

    def run(self, queue: Queue) -> None:
        return None


class UniqueTickJob(Job):
    """Comes every second, one at a time."""

    cron = "* * * * * *"
    uniq = True

    def run(self, queue: Queue) -> None:
        return None


class NightlyTickJob(Job):
    """Comes at two in the night of its own zone."""

    cron = "0 2 * * *"
    cron_timezone = "Europe/Berlin"

    def run(self, queue: Queue) -> None:
        return None


def scheduler(engine: Engine, *jobs: type[Job], zone: str = "UTC") -> Scheduler:
    return Scheduler(engine=engine, jobs=jobs, default_zone=zone, turn=threading.Lock())


def settled_until(connection: Connection, ago: timedelta) -> None:
    """Let the last look have been so long ago."""
    connection.execute(
        text("UPDATE spoils_schedules SET settled_until = now() - CAST(:ago AS interval)"), {"ago": ago}
    )


def told(rows: Rows) -> dict[str, int]:
    return dict(rows.all("SELECT outcome, count(*) FROM spoils_ticks GROUP BY 1"))  # type: ignore[arg-type]


def test_a_schedule_that_is_new_enters_nothing_of_the_past(engine: Engine, rows: Rows) -> None:
    assert 0 < scheduler(engine, EveryMinuteJob).tick() <= LOOK_SECONDS
    assert told(rows) == {}
    assert rows.all("SELECT job, cron, zone FROM spoils_schedules") == [
        ("EveryMinuteJob", "* * * * *", "UTC")
    ]


def test_a_class_s_own_zone_goes_before_the_setting_and_one_without_a_cron_is_none(
    engine: Engine, rows: Rows
) -> None:
    class PlainTickJob(Job):
        def run(self, queue: Queue) -> None:
            return None

    scheduler(engine, NightlyTickJob, EveryMinuteJob, PlainTickJob, zone="America/New_York").tick()
    assert rows.all("SELECT job, zone FROM spoils_schedules ORDER BY 1") == [
        ("EveryMinuteJob", "America/New_York"),
        ("NightlyTickJob", "Europe/Berlin"),
    ]


def test_without_schedules_it_looks_up_now_and_then(engine: Engine) -> None:
    assert scheduler(engine).tick() == LOOK_SECONDS


def test_slots_that_are_late_by_less_than_a_minute_are_entered_once(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    one = scheduler(engine, EverySecondJob)
    one.tick()
    settled_until(connection, timedelta(seconds=5))
    assert 0 < one.tick() <= 1
    first = told(rows)
    assert set(first) == {"entered"}
    assert 5 <= first["entered"] < 60
    assert rows.value("SELECT count(*) FROM fang_tasks") == first["entered"]
    settled_until(connection, timedelta(seconds=4))
    one.tick()
    assert rows.all("SELECT count(*) - count(DISTINCT task_id) FROM spoils_ticks") == [(0,)]
    assert rows.value("SELECT count(*) FROM fang_tasks") == rows.value("SELECT count(*) FROM spoils_ticks")


def test_a_task_is_never_entered_ahead_of_its_slot(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    one = scheduler(engine, EverySecondJob)
    one.tick()
    settled_until(connection, timedelta(seconds=5))
    one.tick()
    assert rows.value("SELECT count(*) FROM spoils_ticks WHERE slot > told_at") == 0
    assert rows.value(
        "SELECT bool_and(t.created_at >= k.slot) FROM spoils_ticks AS k JOIN fang_tasks AS t ON t.id = k.task_id"
    )


def test_slots_that_nobody_was_there_for_are_missed_and_the_last_minute_s_are_entered(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    one = scheduler(engine, EveryMinuteJob)
    one.tick()
    settled_until(connection, timedelta(minutes=10))
    one.tick()
    found = told(rows)
    assert 8 <= found["missed"] <= 10
    assert found["entered"] in (1, 2)  # two, where this minute ended meanwhile
    assert rows.value("SELECT count(*) FROM fang_tasks") == found["entered"]
    assert rows.value("SELECT max(slot) FROM spoils_ticks WHERE outcome = 'missed'") < rows.value(
        "SELECT min(slot) FROM spoils_ticks WHERE outcome = 'entered'"
    )


def test_a_long_absence_is_caught_up_in_bounded_steps_that_skip_nothing(
    engine: Engine, connection: Connection, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST_TICKS", 100)
    one = scheduler(engine, EverySecondJob)
    one.tick()
    settled_until(connection, timedelta(seconds=250))
    one.tick()
    assert told(rows) == {"missed": 100}
    one.tick()
    one.tick()
    found = told(rows)
    assert found["missed"] + found["entered"] >= 250
    assert rows.value("SELECT max(slot) - min(slot) FROM spoils_ticks") == timedelta(
        seconds=rows.value("SELECT count(*) - 1 FROM spoils_ticks")
    )


def test_a_slot_whose_unique_duplicate_is_active_is_skipped(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    twin = enqueue(connection, UniqueTickJob()).id
    one = scheduler(engine, UniqueTickJob)
    one.tick()
    settled_until(connection, timedelta(seconds=3))
    one.tick()
    assert rows.all("SELECT DISTINCT outcome, task_id FROM spoils_ticks") == [("skipped", twin)]
    assert rows.value("SELECT count(*) FROM fang_tasks") == 1


def test_four_schedulers_at_once_enter_each_slot_once(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    several = [scheduler(engine, EverySecondJob) for _ in range(4)]
    several[0].tick()
    settled_until(connection, timedelta(seconds=20))
    at_once(4, lambda number: several[number].tick())
    assert (
        rows.value("SELECT count(*) FROM fang_tasks") == rows.value("SELECT count(*) FROM spoils_ticks") >= 20
    )
    assert rows.value("SELECT count(DISTINCT task_id) FROM spoils_ticks") == rows.value(
        "SELECT count(*) FROM fang_tasks"
    )


def test_eight_schedulers_that_run_beside_each_other_enter_each_second_once_though_one_pauses(
    engine: Engine, rows: Rows, thorough: bool
) -> None:
    wanted = 600 if thorough else 8
    pause = threading.Lock()
    several = [scheduler(engine, EverySecondJob) for _ in range(7)]
    several.append(Scheduler(engine=engine, jobs=[EverySecondJob], default_zone="UTC", turn=pause))
    for one in several:
        one.loop.start()

    def ticks(number: int) -> None:
        assert rows.value("SELECT count(*) FROM spoils_ticks") >= number

    try:
        eventually(lambda: ticks(wanted // 4), wanted)
        with pause:
            eventually(lambda: ticks(wanted // 2), wanted)
        eventually(lambda: ticks(wanted), wanted)
    finally:
        stopped = [one.loop.stop(30) for one in several]
    assert stopped == [True] * 8
    told, between, entered = rows.all(
        "SELECT count(*), extract(epoch FROM max(slot) - min(slot))::int + 1, "
        "count(DISTINCT task_id) FILTER (WHERE outcome = 'entered') FROM spoils_ticks"
    )[0]
    assert told == between == entered == rows.value("SELECT count(*) FROM fang_tasks")


def test_a_slot_and_its_task_come_together_or_not_at_all(
    engine: Engine, connection: Connection, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    one = scheduler(engine, EverySecondJob)
    one.tick()
    settled_until(connection, timedelta(seconds=3))
    # The task goes in; then the tick cannot be completed.
    connection.execute(text("ALTER TABLE spoils_ticks ADD CONSTRAINT no CHECK (task_id IS NULL)"))
    try:
        assert one.tick() == ERROR_SECONDS
        assert one.tick() == ERROR_SECONDS
        assert [bool(record.exc_info) for record in caplog.records] == [True]  # logged once, not at each try
    finally:
        connection.execute(text("ALTER TABLE spoils_ticks DROP CONSTRAINT no"))
    assert told(rows) == {}
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    one.tick()
    assert told(rows)["entered"] >= 3


def test_slots_of_a_paused_schedule_are_skipped_and_say_so(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    room_of_it = scheduler(engine, EveryMinuteJob)
    room_of_it.tick()
    pauses.pause(connection, PauseKind.SCHEDULE, "EveryMinuteJob", by="admin")
    connection.execute(text("UPDATE spoils_pauses SET paused_at = now() - interval '1 hour'"))
    settled_until(connection, timedelta(minutes=5))
    room_of_it.tick()
    assert set(rows.all("SELECT outcome, reason FROM spoils_ticks")) == {("skipped", "paused")}
    assert rows.value("SELECT count(*) FROM spoils_ticks") == 5
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    pauses.resume(connection, PauseKind.SCHEDULE, "EveryMinuteJob")
    connection.execute(text("DELETE FROM spoils_ticks"))
    settled_until(connection, timedelta(seconds=60))
    room_of_it.tick()
    assert told(rows) == {"entered": 1}


def test_slots_before_a_pause_keep_what_they_would_have_been(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    room_of_it = scheduler(engine, EveryMinuteJob)
    room_of_it.tick()
    pauses.pause(connection, PauseKind.SCHEDULE, "EveryMinuteJob", by="admin")
    connection.execute(
        text("UPDATE spoils_pauses SET paused_at = date_trunc('minute', now()) - interval '3 minutes'")
    )
    settled_until(connection, timedelta(minutes=6))
    room_of_it.tick()
    assert told(rows)["skipped"] >= 3
    assert told(rows)["missed"] >= 2


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(days=3650)])
def test_a_schedule_goes_on_at_once_when_the_database_s_clock_comes_back_from_the_future(
    engine: Engine, connection: Connection, rows: Rows, ahead: timedelta
) -> None:
    one = scheduler(engine, EverySecondJob)
    one.tick()
    # All that the clock passed over was missed, but for what was entered in its last minute.
    connection.execute(
        text(
            "INSERT INTO spoils_ticks (schedule_id, slot, outcome) "
            "SELECT id, date_trunc('second', now()) + make_interval(secs => n), "
            "CASE WHEN n = 2 THEN 'entered' ELSE 'missed' END FROM spoils_schedules, generate_series(1, 60) AS n"
        )
    )
    settled_until(connection, -ahead)

    def entered() -> None:
        one.tick()
        assert rows.value("SELECT count(*) FROM fang_tasks") >= 3

    eventually(entered)
    # The one that had been entered has got no second task, and nothing is left of the others.
    assert rows.value("SELECT count(*) FROM spoils_ticks WHERE outcome = 'entered'") - 1 == rows.value(
        "SELECT count(*) FROM fang_tasks"
    )
    assert rows.value("SELECT count(*) FROM spoils_ticks WHERE outcome = 'missed'") == 0
    assert rows.value("SELECT count(*) FROM spoils_ticks WHERE slot > clock_timestamp()") == 0


def test_a_clock_that_is_set_back_by_less_than_a_period_changes_nothing(
    engine: Engine, connection: Connection, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    one = scheduler(engine, EveryMinuteJob)
    one.tick()
    connection.execute(
        text("UPDATE spoils_schedules SET settled_until = date_trunc('minute', now()) + interval '1 minute'")
    )
    before = rows.value("SELECT settled_until FROM spoils_schedules")
    one.tick()
    assert rows.value("SELECT settled_until FROM spoils_schedules") == before
    assert "set back" not in caplog.text


def test_a_schedule_that_was_paused_while_the_clock_was_ahead_stays_paused(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    one = scheduler(engine, EveryMinuteJob)
    one.tick()
    pauses.pause(connection, PauseKind.SCHEDULE, "EveryMinuteJob", by="admin")
    connection.execute(text("UPDATE spoils_pauses SET paused_at = now() + interval '1 hour'"))
    settled_until(connection, timedelta(minutes=5))
    one.tick()
    assert set(told(rows)) == {"skipped"}
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
