"""Ticks: each slot once, in one transaction with the task it makes."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import transaction
from spoils.job import Job
from spoils.models import PauseKind, TickEnding
from spoils.queue.enqueue import enqueue
from spoils.queue.pauses import pause
from spoils.queue.ticks import (
    PAUSED,
    Recorded,
    ScheduleProgress,
    enqueue_tick,
    record_missed,
    record_paused,
    return_to_present,
    schedule_progress,
)
from tests.locks import at_once, held, meanwhile
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob

SLOT = datetime(2024, 5, 1, 2, tzinfo=UTC)


def progress_of(connection: Connection, **changed: str) -> ScheduleProgress:
    return schedule_progress(
        connection,
        **{"job": "SampleJob", "task_type": "sample", "cron": "0 2 * * *", "zone": "UTC", **changed},
    )


@pytest.fixture
def schedule_id(connection: Connection) -> int:
    return progress_of(connection).schedule_id


def database_now(connection: Connection) -> datetime:
    moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment


def ticks(rows: Rows) -> list[tuple[object, ...]]:
    return rows.all("SELECT slot, outcome, task_id FROM spoils_ticks ORDER BY slot")


def test_a_schedule_begins_when_it_is_first_seen_and_is_found_again(
    connection: Connection, rows: Rows
) -> None:
    before = database_now(connection)
    first = progress_of(connection)
    assert before <= first.settled_until <= first.now <= database_now(connection)
    again = progress_of(connection, task_type="renamed")
    assert (again.schedule_id, again.settled_until) == (first.schedule_id, first.settled_until)
    assert again.now > first.now
    assert rows.all("SELECT task_type, seen_at > settled_until FROM spoils_schedules") == [("renamed", True)]


def test_another_class_cron_or_zone_is_another_schedule(connection: Connection) -> None:
    changes: list[dict[str, str]] = [
        {},
        {"job": "OtherJob"},
        {"cron": "0 3 * * *"},
        {"zone": "Europe/Berlin"},
    ]
    assert len({progress_of(connection, **change).schedule_id for change in changes}) == 4


def test_a_tick_is_recorded_with_its_task_for_good(engine: Engine, rows: Rows, schedule_id: int) -> None:
    with transaction(engine) as connection:
        told = enqueue_tick(connection, SampleJob(), schedule_id=schedule_id, moment=SLOT)
    assert told is not None
    assert told.outcome is TickEnding.ENTERED
    assert ticks(rows) == [(SLOT, "entered", told.task_id)]
    assert rows.all("SELECT id, state::text FROM fang_tasks") == [(told.task_id, "new")]
    with transaction(engine) as connection:
        assert enqueue_tick(connection, SampleJob(), schedule_id=schedule_id, moment=SLOT) is None
    assert rows.value("SELECT count(*) FROM fang_tasks") == 1


def test_a_tick_is_skipped_with_the_id_of_its_active_duplicate(
    engine: Engine, rows: Rows, schedule_id: int
) -> None:
    twin = enqueue(rows.connection, UniqueSampleJob()).id
    with transaction(engine) as connection:
        told = enqueue_tick(connection, UniqueSampleJob(), schedule_id=schedule_id, moment=SLOT)
    assert told == Recorded(TickEnding.SKIPPED, twin)
    assert ticks(rows) == [(SLOT, "skipped", twin)]
    assert rows.value("SELECT count(*) FROM fang_tasks") == 1


def test_twenty_schedulers_at_once_enter_a_slot_once(engine: Engine, rows: Rows, schedule_id: int) -> None:
    def scheduler(_: int) -> Recorded | None:
        with transaction(engine) as connection:
            return enqueue_tick(connection, SampleJob(), schedule_id=schedule_id, moment=SLOT)

    told = [one for one in at_once(20, scheduler) if one is not None]
    assert len(told) == 1
    assert ticks(rows) == [(SLOT, "entered", told[0].task_id)]
    assert rows.value("SELECT count(*) FROM fang_tasks") == 1


@pytest.mark.parametrize("commits", [True, False])
def test_a_second_scheduler_waits_for_the_first_and_takes_over_only_where_that_fails(
    engine: Engine, rows: Rows, schedule_id: int, commits: bool
) -> None:
    def enter(connection: Connection) -> Recorded | None:
        return enqueue_tick(connection, SampleJob(), schedule_id=schedule_id, moment=SLOT)

    with held(engine) as first:
        assert enter(first) is not None
        with meanwhile(engine, enter) as second:
            if commits:
                first.commit()
            else:
                first.rollback()
        assert (second.result() is None) is commits
    assert (
        rows.value("SELECT count(*) FROM fang_tasks") == rows.value("SELECT count(*) FROM spoils_ticks") == 1
    )


def test_missed_ticks_are_recorded_without_a_task_and_recorded_ones_stay(
    engine: Engine, connection: Connection, rows: Rows, schedule_id: int
) -> None:
    with transaction(engine) as inside:
        told = enqueue_tick(inside, SampleJob(), schedule_id=schedule_id, moment=SLOT)
    assert told is not None
    slots = [SLOT - timedelta(days=1), SLOT, SLOT + timedelta(days=1)]
    assert record_missed(connection, schedule_id=schedule_id, moments=slots) == 2
    assert ticks(rows) == [
        (slots[0], "missed", None),
        (SLOT, "entered", told.task_id),
        (slots[2], "missed", None),
    ]
    assert record_missed(connection, schedule_id=schedule_id, moments=slots) == 0


def test_recording_a_tick_moves_the_schedule_forward_and_never_back(
    connection: Connection, rows: Rows, schedule_id: int
) -> None:
    ahead = database_now(connection) + timedelta(hours=1)
    enqueue_tick(connection, SampleJob(), schedule_id=schedule_id, moment=ahead)
    assert progress_of(connection).settled_until == ahead
    enqueue_tick(connection, SampleJob(), schedule_id=schedule_id, moment=SLOT)
    record_missed(connection, schedule_id=schedule_id, moments=[SLOT - timedelta(days=1)])
    assert progress_of(connection).settled_until == ahead
    assert isinstance(rows.value("SELECT task_id FROM spoils_ticks WHERE slot = :slot", slot=ahead), UUID)


class LonelyJob(Job):
    """At one time only one of it, of those that its schedule enters."""

    overlap = False


@pytest.mark.parametrize(
    ("state", "enters"), [("new", False), ("retried", False), ("in_progress", False), ("failed", True)]
)
def test_a_tick_is_skipped_while_the_task_of_the_previous_one_is_active(
    engine: Engine, rows: Rows, schedule_id: int, state: str, enters: bool
) -> None:
    with transaction(engine) as connection:
        first = enqueue_tick(connection, LonelyJob(), schedule_id=schedule_id, moment=SLOT)
        record_missed(connection, schedule_id=schedule_id, moments=[SLOT + timedelta(hours=1)])
    assert first is not None
    rows.connection.execute(text("UPDATE fang_tasks SET state = CAST(:s AS fang_task_state)"), {"s": state})
    enqueue(rows.connection, LonelyJob())  # by hand: not the schedule's
    with transaction(engine) as connection:
        told = enqueue_tick(
            connection, LonelyJob(), schedule_id=schedule_id, moment=SLOT + timedelta(hours=2)
        )
    assert told is not None
    assert told.outcome is (TickEnding.ENTERED if enters else TickEnding.SKIPPED)
    assert (told.task_id == first.task_id) is not enters


def test_slots_of_a_pause_are_skipped_with_their_reason(
    connection: Connection, rows: Rows, schedule_id: int
) -> None:
    slots = [SLOT, SLOT + timedelta(days=1)]
    assert record_paused(connection, schedule_id=schedule_id, moments=slots) == 2
    assert record_paused(connection, schedule_id=schedule_id, moments=slots) == 0
    assert rows.all("SELECT outcome, reason, task_id FROM spoils_ticks") == [("skipped", PAUSED, None)] * 2


def test_a_schedule_knows_when_it_was_paused(connection: Connection) -> None:
    assert progress_of(connection).paused_at is None
    pause(connection, PauseKind.TASK_TYPE, "SampleJob", by="admin")
    pause(connection, PauseKind.SCHEDULE, "OtherJob", by="admin")
    assert progress_of(connection).paused_at is None
    before = database_now(connection)
    pause(connection, PauseKind.SCHEDULE, "SampleJob", by="admin")
    paused_at = progress_of(connection).paused_at
    assert paused_at is not None
    assert before <= paused_at <= database_now(connection)


HOURS = [SLOT + timedelta(hours=number) for number in range(5)]


def entered(engine: Engine, schedule_id: int, slot: datetime) -> Recorded | None:
    with transaction(engine) as connection:
        return enqueue_tick(connection, SampleJob(), schedule_id=schedule_id, moment=slot)


def settled(rows: Rows) -> datetime:
    moment: datetime = rows.value("SELECT settled_until FROM spoils_schedules")
    return moment


@pytest.fixture
def ahead(engine: Engine, connection: Connection, schedule_id: int) -> ScheduleProgress:
    """A schedule of which five hours are told, at an hour after the second of them."""
    connection.execute(text("UPDATE spoils_schedules SET settled_until = :slot"), {"slot": HOURS[0]})
    record_missed(connection, schedule_id=schedule_id, moments=[HOURS[0], HOURS[2]])
    record_paused(connection, schedule_id=schedule_id, moments=[HOURS[1], HOURS[3]])
    entered(engine, schedule_id, HOURS[4])
    return ScheduleProgress(schedule_id, HOURS[4], HOURS[1] + timedelta(minutes=1))


def test_a_schedule_that_returns_from_the_future_keeps_what_was_entered_there(
    engine: Engine, rows: Rows, ahead: ScheduleProgress
) -> None:
    with transaction(engine) as connection:
        return_to_present(connection, ahead)
    assert settled(rows) == ahead.now
    assert [(slot, outcome) for slot, outcome, _ in ticks(rows)] == [
        (HOURS[0], "missed"),
        (HOURS[1], "skipped"),
        (HOURS[4], "entered"),
    ]
    assert entered(engine, ahead.schedule_id, HOURS[2]) is not None
    assert entered(engine, ahead.schedule_id, HOURS[4]) is None
    assert settled(rows) == HOURS[4]  # and is not tried again
    assert rows.value("SELECT count(*) FROM fang_tasks") == 2


def test_of_several_workers_one_lets_a_schedule_return(
    engine: Engine, rows: Rows, ahead: ScheduleProgress
) -> None:
    with transaction(engine) as connection:
        return_to_present(connection, ahead)
        record_paused(connection, schedule_id=ahead.schedule_id, moments=[HOURS[2]])
    before = ticks(rows)
    with transaction(engine) as connection:
        return_to_present(connection, ahead)
    assert (settled(rows), ticks(rows)) == (HOURS[2], before)
