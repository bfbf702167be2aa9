"""Reading the queue: a task, its attempts and twins, and who lives."""

from uuid import uuid4

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from spoils.models import TaskState
from spoils.queue import tasks
from spoils.reports.schedules import all_schedules, last_ticks, troubled_ticks
from spoils.reports.workers import live_workers
from tests.rows import Rows
from tests.sample_jobs import UniqueSampleJob


def test_a_task_is_found_with_its_attempts_the_last_one_first(session: Session, rows: Rows) -> None:
    task_id = rows.task()
    for number in range(1, 6):
        rows.attempt(task_id, number)
        rows.attempt(uuid4(), number)
    found = tasks.find_task(session, task_id)
    assert found is not None
    assert found.state is TaskState.NEW
    assert [one.attempt for one in tasks.attempts_of(session, task_id)] == [5, 4, 3, 2, 1]
    assert [one.attempt for one in tasks.attempts_of(session, task_id, limit=2)] == [5, 4]
    assert tasks.find_task(session, uuid4()) is None


def test_a_failure_that_counts_for_nothing_is_one_that_was_given_back_with_an_error(
    connection: Connection, rows: Rows
) -> None:
    task_id, other = rows.task(), rows.task()
    for of, outcome, error_class in (
        (task_id, "released", "OperationalError"),
        (task_id, "released", "OperationalError"),
        (task_id, "released", ""),
        (task_id, "retried", "ValueError"),
        (other, "released", "OperationalError"),
    ):
        rows.attempt(of, outcome=outcome, error_class=error_class)
    assert tasks.uncounted_failures(connection, task_id) == 2


def test_a_task_is_found_as_it_is_now(session: Session, rows: Rows) -> None:
    task_id = rows.task()
    tasks.find_task(session, task_id)
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'failed'"))
    found = tasks.find_task(session, task_id)
    assert found is not None
    assert found.state is TaskState.FAILED


def test_live_is_who_has_not_ended_and_beat_lately(session: Session, rows: Rows) -> None:
    alive = rows.worker(silent_for=25)
    rows.worker(silent_for=31)
    rows.worker(ended=True)
    assert [worker.id for worker in live_workers(session)] == [alive]


def test_the_active_duplicate_of_a_task_is_found(session: Session, rows: Rows) -> None:
    digest = UniqueSampleJob().uniq_hash()
    ended, waits, plain = (
        rows.task(state="failed", uniq_hash=digest),
        rows.task(uniq_hash=digest),
        rows.task(),
    )
    one, other, alone = (tasks.find_task(session, task_id) for task_id in (ended, waits, plain))
    assert one is not None
    assert other is not None
    assert alone is not None
    assert tasks.active_duplicate(session, one) == tasks.Duplicate(waits, TaskState.NEW)
    assert tasks.active_duplicate(session, other) is None
    assert tasks.active_duplicate(session, alone) is None


def test_schedules_come_by_class_and_their_slots_newest_first(session: Session, rows: Rows) -> None:
    for number, job in ((1, "B"), (2, "A"), (3, "A")):
        rows.connection.execute(
            text(
                "INSERT INTO spoils_schedules (id, job, cron, zone, task_type) VALUES (:id, :job, :id, 'UTC', 't')"
            ),
            {"id": number, "job": job},
        )
    ticked(rows, 1, [("10 min", "entered", 0), ("30 min", "missed", 0), ("20 min", "entered", 0)])
    ticked(rows, 2, [("5 min", "entered", 0)])
    assert [(one.job, one.id) for one in all_schedules(session)] == [("A", 2), ("A", 3), ("B", 1)]
    found = last_ticks(session, [1, 3])
    assert [one.outcome for one in found[1]] == ["entered", "entered", "missed"]
    assert found[3] == []
    assert len(last_ticks(session, [1], 2)[1]) == 2


def test_slots_with_a_trouble_are_those_that_were_not_entered_or_late(session: Session, rows: Rows) -> None:
    rows.connection.execute(
        text("INSERT INTO spoils_schedules (id, job, cron, zone, task_type) VALUES (1, 'A', '*', 'UTC', 't')")
    )
    ticked(
        rows,
        1,
        [
            ("1 min", "entered", 5.5),
            ("2 min", "entered", 4.5),
            ("3 min", "skipped", 0),
            ("4 min", "missed", 0),
        ],
    )

    def troubled(**bounds: int) -> list[str]:
        return [one.outcome for one in troubled_ticks(session, late_seconds=5, **bounds)]

    assert troubled() == ["entered", "skipped", "missed"]
    assert troubled(within=3) == ["entered", "skipped"]
    assert troubled(limit=1) == ["entered"]


def ticked(rows: Rows, schedule_id: int, slots: list[tuple[str, str, float]]) -> None:
    for ago, outcome, late in slots:
        rows.connection.execute(
            text(
                "INSERT INTO spoils_ticks (schedule_id, slot, outcome, told_at) SELECT :id, slot, :outcome, "
                "slot + make_interval(secs => :late) FROM (SELECT now() - CAST(:ago AS interval) AS slot) AS s"
            ),
            {"id": schedule_id, "ago": ago, "outcome": outcome, "late": late},
        )
