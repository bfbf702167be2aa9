"""Schedules that need somebody: a missed tick, a failed job of a tick, and a tick that nobody can enqueue."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from spoils.job.cron import Cron
from spoils.queue import schedules
from spoils.reports import schedule_incidents
from tests.rows import Rows
from tests.sample_jobs import SampleJob


def made(connection: Connection, name: str = "nightly") -> int:
    cron = Cron("0 2 * * *")
    return schedules.create(connection, name=name, job=SampleJob(), payload={}, cron=cron, who="ann").id


def ticked(rows: Rows, schedule_id: int, hours_ago: float, outcome: str = "entered", **columns: Any) -> None:
    values = {"task": None, "told_ago": timedelta(hours=hours_ago), **columns}
    rows.connection.execute(
        text(
            "INSERT INTO spoils_ticks (schedule_id, slot, outcome, task_id, told_at) VALUES "
            "(:schedule, now() - CAST(:ago AS interval), :outcome, :task, now() - CAST(:told_ago AS interval))"
        ),
        {"schedule": schedule_id, "ago": timedelta(hours=hours_ago), "outcome": outcome, **values},
    )


def found(connection: Connection) -> dict[str, str]:
    return {key.partition(":")[0]: sentence for key, sentence in schedule_incidents.find(connection)}


def test_a_schedule_that_does_its_work_is_no_incident(connection: Connection, rows: Rows) -> None:
    schedule_id = made(connection)
    ticked(rows, schedule_id, 30, task=rows.task(state="failed"))
    ticked(rows, schedule_id, 6, task=rows.task(state="finished"))
    ticked(rows, schedule_id, 3, "skipped")
    ticked(rows, schedule_id, 1, "missed")  # recorded an hour ago
    assert found(connection) == {}


def test_ticks_that_were_missed_lately_are_one_incident(connection: Connection, rows: Rows) -> None:
    schedule_id = made(connection)
    ticked(rows, schedule_id, 30, "missed", told_ago=timedelta(minutes=1))
    assert "The schedule nightly missed its tick at " in found(connection)["missed"]
    ticked(rows, schedule_id, 6, "missed", told_ago=timedelta(minutes=1))
    assert "The schedule nightly missed 2 ticks, the last one at " in found(connection)["missed"]


def test_a_failed_job_is_an_incident_until_a_later_one_finishes(connection: Connection, rows: Rows) -> None:
    schedule_id = made(connection)
    ticked(rows, schedule_id, 6, task=rows.task(state="failed"))
    ticked(rows, schedule_id, 3, task=rows.task(state="in_progress"))
    assert "The job of the schedule nightly for its tick at " in found(connection)["failing"]
    ticked(rows, schedule_id, 1, task=rows.task(state="finished"))
    assert found(connection) == {}


def test_a_job_that_is_pruned_says_nothing_of_the_ones_before_it(connection: Connection, rows: Rows) -> None:
    schedule_id = made(connection)
    ticked(rows, schedule_id, 30, task=rows.task(state="failed"))
    gone = rows.task(state="finished")
    ticked(rows, schedule_id, 6, task=gone)
    rows.connection.execute(text("DELETE FROM fang_tasks WHERE id = :id"), {"id": gone})
    assert found(connection) == {}


@pytest.mark.parametrize(("seen_ago", "known"), [("1 hour", True), ("2 days", False)])
def test_that_of_a_class_counts_while_a_worker_has_the_class(
    connection: Connection, rows: Rows, seen_ago: str, *, known: bool
) -> None:
    schedule_id = rows.value(
        "INSERT INTO spoils_schedules (job, cron, zone, task_type, seen_at) VALUES "
        "('SampleJob', '0 2 * * *', 'UTC', 'sample', now() - CAST(:ago AS interval)) RETURNING id",
        ago=seen_ago,
    )
    ticked(rows, schedule_id, 6, task=rows.task(state="failed"))
    assert ("failing" in found(connection)) == known


def test_a_tick_that_nobody_can_enqueue_is_an_incident_with_the_reason(
    connection: Connection, rows: Rows
) -> None:
    schedule_id = made(connection)
    rows.connection.execute(
        text("UPDATE spoils_schedules SET runtime_job = 'GoneJob', settled_until = now() - interval '2 days'")
    )
    rows.worker(job_classes={"SampleJob": "x"})
    assert "The schedule nightly waits since its tick at " in found(connection)["unenqueued"]
    assert "No running worker has the job class GoneJob" in found(connection)["unenqueued"]
    schedules.pause(connection, schedule_id, who="ann")
    assert found(connection) == {}
